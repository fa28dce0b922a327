//! The settings of other systems that are understood: of services on FastAPI and Celery, and of other servers of
//! Qwen. One table says what each of them means here; `docs/MIGRATING.md` has the same table for people.

use super::foreign_values as values;

/// Translates a value. `Ok(None)` means that our default is the same. The error says what is allowed.
pub(super) type Translate = fn(&str) -> Result<Option<String>, &'static str>;

/// A setting of another system.
#[derive(Debug, Clone, Copy)]
pub(super) struct Foreign {
    pub(super) name: &'static str,
    pub(super) meaning: Meaning,
}

/// What a setting of another system means here.
#[derive(Debug, Clone, Copy)]
pub(super) enum Meaning {
    /// The setting `key`, unless that or the setting `or` is set itself.
    Setting { key: &'static str, or: Option<&'static str>, translate: Translate },
    /// Nothing, for this reason.
    Nothing(&'static str),
}

const fn setting(name: &'static str, key: &'static str, translate: Translate) -> Foreign {
    Foreign { name, meaning: Meaning::Setting { key, or: None, translate } }
}

const fn nothing(name: &'static str, reason: &'static str) -> Foreign {
    Foreign { name, meaning: Meaning::Nothing(reason) }
}

const OWN_ENGINE: &str = "the engine has its own kernels, which it selects by the device";
const WEB_PAGE: &str = "the web page is at /ui/ on HOST and PORT";

/// All of them, by the systems that have them.
pub(super) const FOREIGN: &[Foreign] = &[
    // Services on FastAPI and Celery
    setting("USE_QUANTIZATION", "QUANTIZATION", values::quantization_switch),
    setting("CELERY_CONCURRENCY", "MAX_BATCH_SIZE", values::concurrency),
    Foreign {
        name: "CELERY_BROKER_URL",
        meaning: Meaning::Setting {
            key: "REDIS_URL",
            or: Some("REDIS_HOST"),
            translate: values::broker,
        },
    },
    setting("CELERY_TASK_TIME_LIMIT", "TASK_TIME_LIMIT", values::same),
    setting("CELERY_RESULT_EXPIRES", "RESULT_TTL", values::same),
    nothing("CELERY_RESULT_BACKEND", "results are stored with the queue, for RESULT_TTL seconds"),
    setting("REDIS_DB", "REDIS_URL", values::database),
    setting("FASTAPI_HOST", "HOST", values::same),
    setting("FASTAPI_PORT", "PORT", values::same),
    nothing("MODEL_BACKEND", "models are computed by the worker's own engine"),
    nothing("OLLAMA_BASE_URL", "models are computed by the worker's own engine"),
    nothing("OLLAMA_MODEL", "MODEL_NAME names the model, by its repository or file"),
    nothing("TEMPERATURE", "requests set the temperature; the default is the model's, else 0.7"),
    // Servers of Qwen-VL with a bounded queue
    setting("MAX_INFERENCE_QUEUE_SIZE", "MAX_QUEUE_SIZE", values::same),
    setting("MAX_INFERENCE_BATCH_SIZE", "MAX_BATCH_SIZE", values::same),
    nothing(
        "MAX_CONCURRENT_GENERATIONS",
        "MAX_BATCH_SIZE limits the answers that a worker computes at once",
    ),
    setting("MAX_IMAGE_SIZE", "MAX_IMAGE_BYTES", values::same),
    setting("ENABLE_SERVER_IMAGE_DOWNLOAD", "IMAGE_DOWNLOAD", values::download_switch),
    nothing(
        "BATCH_WAIT_TIMEOUT",
        "a task joins the running batch at the next step, so no batch is waited for",
    ),
    nothing("GEN_TIME_DEFAULT_EST", "times to wait are estimated from measured ones"),
    nothing("USE_FP16", OWN_ENGINE),
    nothing("ENABLE_TF32", OWN_ENGINE),
    nothing("USE_FLASH_ATTENTION", OWN_ENGINE),
    nothing("USE_BETTERTRANSFORMER", OWN_ENGINE),
    nothing("COMPILE_MODEL", OWN_ENGINE),
    nothing("USE_LLMCOMPRESSOR", OWN_ENGINE),
    // Services in the style of OpenAI's API
    setting("LLM_MODEL_ID", "MODEL_NAME", values::same),
    // Deployments of Qwen-VL with skills
    setting("QWEN_MODEL_SIZE", "MODEL_NAME", values::model_of_size),
    setting("QWEN_MODEL_VARIANT", "MODEL_NAME", values::variant),
    setting("QWEN_QUANTIZATION", "QUANTIZATION", values::same),
    setting("QWEN_DEVICE_MAP", "MODEL_DEVICE", values::same),
    setting("QWEN_MAX_NEW_TOKENS", "MAX_NEW_TOKENS", values::same),
    setting("QWEN_MAX_PIXELS", "MAX_IMAGE_TOKENS", values::tokens_of_pixels),
    nothing("QWEN_MIN_PIXELS", "requests set min_pixels; the default is the model's"),
    nothing("GRADIO_SERVER_NAME", WEB_PAGE),
    nothing("GRADIO_SERVER_PORT", WEB_PAGE),
    nothing("GRADIO_SHARE", "docs/DEPLOYING.md shows how to get a public address"),
];

/// Returns the setting of another system with exactly this name.
pub(super) fn named(name: &str) -> Option<&'static Foreign> {
    FOREIGN.iter().find(|foreign| foreign.name == name)
}

/// Returns advice for a source that accepts our names only, or `None` if the name, in any case, is unknown.
pub(super) fn advice(name: &str) -> Option<String> {
    let foreign = named(&name.to_ascii_uppercase())?;
    Some(match foreign.meaning {
        Meaning::Setting { key, .. } => format!(
            "it is a setting of another system; write {} (docs/MIGRATING.md)",
            key.to_ascii_lowercase()
        ),
        Meaning::Nothing(reason) => {
            format!("it is a setting of another system without effect here; remove it: {reason}")
        }
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::names;
    use super::*;

    #[test]
    fn names_are_unique_and_not_ours_and_stand_for_ours() {
        for (at, foreign) in FOREIGN.iter().enumerate() {
            let name = foreign.name;
            assert!(FOREIGN[..at].iter().all(|other| other.name != name), "{name} is there twice");
            assert!(names::named(name).is_none(), "{name} is a setting of ours");
            if let Meaning::Setting { key, or, .. } = foreign.meaning {
                for ours in [Some(key), or].into_iter().flatten() {
                    assert!(
                        names::named(ours).is_some(),
                        "{name} stands for {ours}, which is no setting"
                    );
                }
            }
        }
    }

    #[test]
    fn the_guide_has_a_row_for_each() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let guide = std::fs::read_to_string(root.join("docs/MIGRATING.md")).unwrap();
        for foreign in FOREIGN {
            let begin = format!("| `{}` |", foreign.name);
            let rows: Vec<_> = guide.lines().filter(|line| line.starts_with(&begin)).collect();
            let [row] = rows[..] else {
                panic!("{begin} is in docs/MIGRATING.md {} times", rows.len())
            };
            let expected = match foreign.meaning {
                Meaning::Setting { key, .. } => format!("`{key}`"),
                Meaning::Nothing(reason) => format!("nothing: {reason} |"),
            };
            assert!(row.contains(&expected), "the guide does not say {expected}: {row}");
        }
    }

    #[test]
    fn files_with_our_names_only_advise() {
        assert!(advice("use_quantization").unwrap().contains("write quantization"));
        assert!(advice("use_fp16").unwrap().contains("remove it"));
        assert_eq!(advice("port"), None);
    }
}
