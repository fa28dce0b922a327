//! Recognizes misspelled settings among unknown names; pure.

use super::foreign;
use super::keys::{KEYS, Key};

/// The variable that names the YAML file.
pub(super) const FILE_VARIABLE: &str = "QWEN_QUEUE_CONFIG";
/// Variables that CLI commands read from the environment and `.env` in addition to the settings.
const CLIENT_VARIABLES: [&str; 4] =
    [FILE_VARIABLE, "QWEN_QUEUE_URL", "QWEN_QUEUE_ADMIN_URL", "QWEN_QUEUE_API_KEY"];

/// Returns the setting with exactly this name.
pub(super) fn named(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Returns `true` if the name is a setting, a variable of CLI commands, or a setting of another system
/// that is understood.
pub(super) fn is_known(name: &str) -> bool {
    named(name).is_some() || CLIENT_VARIABLES.contains(&name) || foreign::named(name).is_some()
}

/// Returns the setting that `name` most likely stands for: in another case, with `-` for `_`, with
/// the prefix of the client's variables, or with a typing error. Short names allow fewer errors:
/// `POST` is not `PORT`.
pub(super) fn key_for_misspelling(name: &str) -> Option<&'static Key> {
    let normal = normal(name);
    KEYS.iter().find(|key| key.name == normal).or_else(|| {
        let most = |key: &Key| match key.name.len() {
            ..=5 => usize::from(are_anagrams(key.name, &normal)),
            6..=9 => 1,
            _ => 2,
        };
        nearest(&normal).filter(|(key, slips)| *slips <= most(key)).map(|(key, _)| key)
    })
}

/// Returns advice on an unknown name, for sources that reject unknown names.
pub(super) fn advice(name: &str) -> String {
    if let Some(advice) = foreign::advice(name) {
        return advice;
    }
    let normal = normal(name);
    let lower = |key: &Key| key.name.to_ascii_lowercase();
    let exact = KEYS.iter().find(|key| key.name == normal);
    if let Some(key) = exact.or_else(|| {
        nearest(&normal).filter(|(key, slips)| *slips <= key.name.len() / 3).map(|(key, _)| key)
    }) {
        return format!("did you mean {}?", lower(key));
    }
    let group: Vec<_> =
        KEYS.iter().filter(|key| key.name.starts_with(&format!("{normal}_"))).map(lower).collect();
    if group.is_empty() {
        let all: Vec<_> = KEYS.iter().map(lower).collect();
        format!("allowed are {}", all.join(", "))
    } else {
        format!("did you mean {}?", group.join(" or "))
    }
}

fn normal(name: &str) -> String {
    let upper = name.to_ascii_uppercase().replace(['-', '.', ' '], "_");
    upper.strip_prefix("QWEN_QUEUE_").map_or(upper.clone(), str::to_owned)
}

/// Returns the setting whose name has the smallest edit distance to `normal`, and that distance.
fn nearest(normal: &str) -> Option<(&'static Key, usize)> {
    KEYS.iter()
        .map(|key| (key, strsim::osa_distance(key.name, normal)))
        .min_by_key(|(_, slips)| *slips)
}

fn are_anagrams(one: &str, other: &str) -> bool {
    let sorted = |text: &str| {
        let mut letters: Vec<_> = text.bytes().collect();
        letters.sort_unstable();
        letters
    };
    sorted(one) == sorted(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelled_names_are_detected_and_foreign_names_ignored() {
        for (slip, meant) in [
            ("API_KEY", "API_KEYS"),
            ("ApiKeys", "API_KEYS"),
            ("port", "PORT"),
            ("PROT", "PORT"),
            ("REDIS-URL", "REDIS_URL"),
            ("REDIS_ULR", "REDIS_URL"),
            ("QWEN_QUEUE_PORT", "PORT"),
            ("TASK_TIMELIMIT", "TASK_TIME_LIMIT"),
            ("MAX_BATCHSIZES", "MAX_BATCH_SIZE"),
            ("LOGLEVEL", "LOG_LEVEL"),
        ] {
            assert_eq!(key_for_misspelling(slip).map(|key| key.name), Some(meant), "{slip}");
        }
        for foreign in [
            "POST",
            "PORTS",
            "HOSTS",
            "GHOST",
            "SPORT",
            "MODEL",
            "MAX_TOKENS",
            "REDIS_MAXMEMORY",
            "HF_DATASETS_CACHE",
            "DATABASE_URL",
            "POSTGRES_PORT",
            "OPENAI_API_KEY",
            "HF_HUB_OFFLINE",
            "COMPOSE_PROJECT_NAME",
            "QWEN_QUEUE_TEST_PYTHON",
            "DEBUG",
            "HOME",
            "LOG_FILE",
            "RUST_LOG",
            "HTTPS_PROXY",
        ] {
            assert_eq!(key_for_misspelling(foreign).map(|key| key.name), None, "{foreign}");
        }
    }

    #[test]
    fn advice_suggests_the_closest_names() {
        assert_eq!(advice("prot"), "did you mean port?");
        assert_eq!(advice("redis-url"), "did you mean redis_url?");
        assert_eq!(advice("max_batch"), "did you mean max_batch_size?");
        assert_eq!(
            advice("redis"),
            "did you mean redis_url or redis_host or redis_port or redis_sentinel_username \
             or redis_sentinel_password or redis_ca_file or redis_partitions or redis_key_prefix \
             or redis_allow_eviction?"
        );
        assert!(advice("humidity").starts_with("allowed are api_keys, admin_api_key, jwt_secret"));
    }
}
