//! Names that are no setting's, and the setting that was probably meant; pure.

use super::keys::{KEYS, Key};

/// Names the YAML file when no option does.
pub(super) const FILE_VARIABLE: &str = "QWEN_QUEUE_CONFIG";
/// What the command line's verbs read from the environment and `.env` beside the settings.
const OF_CLIENTS: [&str; 3] = [FILE_VARIABLE, "QWEN_QUEUE_URL", "QWEN_QUEUE_API_KEY"];

/// The setting of exactly this name.
pub(super) fn named(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Whether `.env` may set it for the system or its clients.
pub(super) fn is_ours(name: &str) -> bool {
    named(name).is_some() || OF_CLIENTS.contains(&name)
}

/// The setting that `name` almost certainly means: another case, `-` for `_`, the prefix of the client's
/// variables, or a slip of the finger. The shorter a name, the fewer slips: `POST` is not `PORT`.
pub(super) fn slip_of(name: &str) -> Option<&'static Key> {
    let normal = normal(name);
    KEYS.iter().find(|key| key.name == normal).or_else(|| {
        let most = |key: &Key| match key.name.len() {
            ..=5 => usize::from(same_letters(key.name, &normal)),
            6..=9 => 1,
            _ => 2,
        };
        nearest(&normal).filter(|(key, slips)| *slips <= most(key)).map(|(key, _)| key)
    })
}

/// Advice on an unknown name, where every unknown name is refused.
pub(super) fn advice(name: &str) -> String {
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

/// The setting whose name takes the fewest slips to become `normal`.
fn nearest(normal: &str) -> Option<(&'static Key, usize)> {
    KEYS.iter()
        .map(|key| (key, strsim::osa_distance(key.name, normal)))
        .min_by_key(|(_, slips)| *slips)
}

fn same_letters(one: &str, other: &str) -> bool {
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
    fn slips_are_known_and_other_programs_names_are_left_alone() {
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
            assert_eq!(slip_of(slip).map(|key| key.name), Some(meant), "{slip}");
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
            assert_eq!(slip_of(foreign).map(|key| key.name), None, "{foreign}");
        }
    }

    #[test]
    fn advice_names_what_is_near() {
        assert_eq!(advice("prot"), "did you mean port?");
        assert_eq!(advice("redis-url"), "did you mean redis_url?");
        assert_eq!(advice("max_batch"), "did you mean max_batch_size?");
        assert_eq!(
            advice("redis"),
            "did you mean redis_url or redis_host or redis_port or redis_ca_file or redis_partitions \
             or redis_allow_eviction?"
        );
        assert!(
            advice("temperature").starts_with("allowed are api_keys, admin_api_key, model_name")
        );
    }
}
