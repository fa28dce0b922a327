//! Takes over the settings of other systems: translates each that is set and whose counterpart here is not, and
//! writes a note about it, which is logged at start.

use std::ffi::OsString;

use super::dotenv_file::DotEnv;
use super::foreign::{FOREIGN, Foreign, Meaning};
use super::given::{Given, Layers, checked_text};

/// A setting of another system as it was found.
struct Found {
    foreign: &'static Foreign,
    text: String,
    place: String,
}

/// Adds the translated settings to `layers`, with their notes. Those that can't be translated are problems.
pub(super) fn adopt(
    layers: &mut Layers,
    environment: &[(OsString, OsString)],
    dotenv: &DotEnv,
    problems: &mut Vec<String>,
) {
    // The settings that were taken over, with the name that set them.
    let mut taken: Vec<(&'static str, &'static str)> = Vec::new();
    for found in FOREIGN.iter().filter_map(|foreign| find(foreign, environment, dotenv)) {
        let name_for =
            |key: &str| taken.iter().find(|(known, _)| *known == key).map(|(_, name)| *name);
        let is_set = |key: &str| {
            let given = layers.given.get(key);
            given.is_some_and(|given| given.place.is_some()) && name_for(key).is_none()
        };
        match found.translated(is_set) {
            Ok(Outcome::Note(note)) => layers.notes.push(note),
            Ok(Outcome::Taken { key, text }) => {
                let same = layers.given.get(key).is_some_and(|given| given.text == text);
                match name_for(key) {
                    None => {
                        taken.push((key, found.foreign.name));
                        layers.notes.push(found.note(key, &text));
                        let place = Some(format!("from {found}"));
                        layers.given.insert(key, Given { text, place });
                    }
                    Some(first) if same => {
                        layers.notes.push(format!("{found} says the same as {first}: {key} is enough"));
                    }
                    Some(first) => problems.push(format!(
                        "{found} and {first} differ, but both stand for {key}: remove both, and set {key}"
                    )),
                }
            }
            Err(problem) => problems.push(problem),
        }
    }
}

/// Finds a setting in the environment, else in `.env`. An empty value counts as unset.
fn find(
    foreign: &'static Foreign,
    environment: &[(OsString, OsString)],
    dotenv: &DotEnv,
) -> Option<Found> {
    let variable = environment.iter().find(|(name, _)| name == foreign.name);
    let text = variable.and_then(|(_, value)| value.to_str()).map_or("", str::trim);
    let (text, place) = if text.is_empty() {
        let (text, place) = dotenv.text_and_place(foreign.name)?;
        (text.to_owned(), place)
    } else {
        (text.to_owned(), "environment".to_owned())
    };
    Some(Found { foreign, text, place })
}

/// What becomes of a setting of another system.
enum Outcome {
    /// Nothing, for a reason.
    Note(String),
    /// A setting of ours.
    Taken { key: &'static str, text: String },
}

impl Found {
    /// Translates the setting, unless our counterpart `is_set`. The error says what is allowed.
    fn translated(&self, is_set: impl Fn(&str) -> bool) -> Result<Outcome, String> {
        let (key, or, translate) = match self.foreign.meaning {
            Meaning::Setting { key, or, translate } => (key, or, translate),
            Meaning::Nothing(reason) => {
                return Ok(Outcome::Note(format!("{self} has no effect: {reason}")));
            }
        };
        if let Some(ours) = [Some(key), or].into_iter().flatten().find(|ours| is_set(ours)) {
            return Ok(Outcome::Note(format!("{self} has no effect, because {ours} is set")));
        }
        checked_text(&self.text).map_err(|what| format!("{self} {what}"))?;
        match translate(&self.text) {
            Ok(Some(text)) => Ok(Outcome::Taken { key, text }),
            Ok(None) => {
                Ok(Outcome::Note(format!("{self} has no effect, because it is the default")))
            }
            Err(allowed) => {
                let given = if is_secret(key) {
                    "its value".to_owned()
                } else {
                    format!("'{}'", self.text.escape_debug())
                };
                Err(format!(
                    "{self} stands for {key}, but {given} is not allowed; allowed is {allowed}"
                ))
            }
        }
    }

    fn note(&self, key: &str, text: &str) -> String {
        if is_secret(key) {
            return format!("{self} is used as {key}: write {key} instead");
        }
        format!("{self} is used as {key}={text}: write that instead")
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.foreign.name, self.place)
    }
}

/// Returns whether values of this setting may have a password.
fn is_secret(key: &str) -> bool {
    key == "REDIS_URL"
}

#[cfg(test)]
mod tests {
    use super::super::tests::{load, problems};
    use super::super::{BatchSize, Quantization, QueueLocation, Secret};

    #[test]
    fn a_setting_of_another_system_is_used_with_a_note() {
        let settings =
            load("", "USE_QUANTIZATION=true\n", &[("CELERY_CONCURRENCY", "4"), ("USE_FP16", "1")])
                .unwrap();
        assert_eq!(settings.quantization, Some(Quantization::FourBit));
        assert_eq!(settings.max_batch_size, BatchSize::Sequences(4));
        let [quantization, batch, fp16] = &settings.notes[..] else {
            panic!("{:?}", settings.notes)
        };
        assert!(quantization.starts_with("USE_QUANTIZATION ("), "{quantization}");
        assert!(
            quantization.contains(".env, line 1) is used as QUANTIZATION=4bit"),
            "{quantization}"
        );
        assert!(batch.contains("(environment) is used as MAX_BATCH_SIZE=4"), "{batch}");
        assert!(fp16.contains("has no effect: the engine"), "{fp16}");
        assert!(load("", "", &[("USE_QUANTIZATION", " ")]).unwrap().notes.is_empty());
    }

    #[test]
    fn our_own_name_wins_wherever_it_is_set() {
        for (yaml, dotenv) in [("quantization: 8bit", ""), ("", "QUANTIZATION=8bit")] {
            // An own value wins over one that could not be translated, too.
            for value in ["true", "maybe"] {
                let settings = load(yaml, dotenv, &[("USE_QUANTIZATION", value)]).unwrap();
                assert_eq!(settings.quantization, Some(Quantization::EightBit));
                assert_eq!(
                    settings.notes,
                    ["USE_QUANTIZATION (environment) has no effect, because QUANTIZATION is set"]
                );
            }
        }
        let settings =
            load("", "REDIS_HOST=ours", &[("CELERY_BROKER_URL", "redis://theirs")]).unwrap();
        assert_eq!(settings.queue, QueueLocation::Redis(Secret::new("redis://ours:6379")));
        assert!(settings.notes[0].contains("because REDIS_HOST is set"), "{:?}", settings.notes);
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let settings = load("", "FASTAPI_PORT=1", &[("FASTAPI_PORT", "2")]).unwrap();
        assert_eq!(settings.port, 2);
        assert_eq!(settings.notes.len(), 1);
    }

    #[test]
    fn what_can_not_be_translated_is_refused_with_what_is_allowed() {
        let found =
            problems(load("", "CELERY_CONCURRENCY=none\nREDIS_DB=3", &[("QWEN_MODEL_SIZE", "9T")]));
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(
            found[0].contains("'none' is not allowed; allowed is a number of tasks"),
            "{found:?}"
        );
        assert!(
            found[1].contains("REDIS_DB") && found[1].contains("redis://HOST:PORT/NUMBER"),
            "{found:?}"
        );
        assert!(found[2].contains("'9T' is not allowed; allowed is 2B, 4B"), "{found:?}");
        // A translated value is checked as one of ours is.
        let found = problems(load("", "", &[("FASTAPI_PORT", "70000")]));
        let expected = "PORT='70000' (from FASTAPI_PORT (environment)) is not allowed";
        assert!(found.len() == 1 && found[0].starts_with(expected), "{found:?}");
    }

    #[test]
    fn two_that_stand_for_one_setting_must_agree() {
        let model = "Qwen/Qwen3-VL-4B-Instruct";
        let settings = load("", "", &[("LLM_MODEL_ID", model), ("QWEN_MODEL_SIZE", "4B")]).unwrap();
        assert_eq!(settings.model_names, [model]);
        assert!(
            settings.notes[1].contains("says the same as LLM_MODEL_ID"),
            "{:?}",
            settings.notes
        );
        let found = problems(load("", "", &[("LLM_MODEL_ID", "a/b"), ("QWEN_MODEL_SIZE", "4B")]));
        assert!(found.len() == 1 && found[0].contains("set MODEL_NAME"), "{found:?}");
    }

    #[test]
    fn passwords_are_in_no_note_and_no_problem() {
        let url = "redis://:seSame99@cache:6379/1";
        let settings = load("", "", &[("CELERY_BROKER_URL", url)]).unwrap();
        assert_eq!(settings.queue, QueueLocation::Redis(Secret::new(url)));
        assert!(!format!("{settings:?}").contains("seSame99"), "{settings:?}");
        let found =
            problems(load("", "", &[("CELERY_BROKER_URL", "amqp://guest:seSame99@rabbit")]));
        assert!(found.len() == 1 && found[0].contains("the only broker"), "{found:?}");
        assert!(!found[0].contains("seSame99"), "{found:?}");
    }

    #[test]
    fn the_yaml_file_takes_our_names_only() {
        let found = problems(load("use_quantization: true", "", &[]));
        assert!(found.len() == 1 && found[0].contains("write quantization"), "{found:?}");
    }
}
