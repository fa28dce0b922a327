//! Translates values of other systems' settings; pure. What a setting of ours allows is checked later, with all
//! others, so a value that keeps its form is passed on as it is.

type Translated = Result<Option<String>, &'static str>;

/// The side of the square of pixels that one token of Qwen2-VL and Qwen2.5-VL covers.
const PIXELS_PER_TOKEN: u64 = 28 * 28;

/// The value has the same form here.
pub(super) fn same(value: &str) -> Translated {
    Ok(Some(value.to_owned()))
}

/// Quantization to 4 bits, switched on or off.
pub(super) fn quantization_switch(value: &str) -> Translated {
    Ok(Some(if is_on(value)? { "4bit" } else { "none" }.to_owned()))
}

/// The download of images, switched on or off. It never reached private addresses on purpose.
pub(super) fn download_switch(value: &str) -> Translated {
    Ok(Some(if is_on(value)? { "public" } else { "off" }.to_owned()))
}

/// The number of tasks that run at once. One at a time was the way to protect a GPU's memory, which the worker's
/// own plan does here.
pub(super) fn concurrency(value: &str) -> Translated {
    match value.parse::<u32>() {
        Ok(1) => Ok(Some("auto".to_owned())),
        Ok(number) if number > 1 => Ok(Some(number.to_string())),
        _ => Err("a number of tasks from 1 on"),
    }
}

/// A broker, which must be Redis. The value may have a password.
pub(super) fn broker(value: &str) -> Translated {
    if value.starts_with("redis://") || value.starts_with("rediss://") {
        return same(value);
    }
    Err("the URL of a Redis (redis:// or rediss://), the only broker that is supported")
}

/// The number of a database, which is a part of the URL here.
pub(super) fn database(value: &str) -> Translated {
    match value.parse::<u32>() {
        Ok(0) => Ok(None),
        _ => Err("0; for another database set REDIS_URL=redis://HOST:PORT/NUMBER"),
    }
}

/// The size of a model of Qwen's families that see.
pub(super) fn model_of_size(value: &str) -> Translated {
    let size = value.to_ascii_uppercase();
    match size.as_str() {
        "2B" | "4B" | "8B" => Ok(Some(format!("Qwen/Qwen3-VL-{size}-Instruct"))),
        "3B" | "7B" => Ok(Some(format!("Qwen/Qwen2.5-VL-{size}-Instruct"))),
        _ => {
            Err("2B, 4B or 8B (Qwen3-VL), 3B or 7B (Qwen2.5-VL); for another model set MODEL_NAME")
        }
    }
}

/// The variant of the model of a size.
pub(super) fn variant(value: &str) -> Translated {
    if value.eq_ignore_ascii_case("instruct") {
        return Ok(None);
    }
    Err("instruct; for another variant set MODEL_NAME, such as Qwen/Qwen3-VL-4B-Thinking")
}

/// The pixels of the largest image, as tokens.
pub(super) fn tokens_of_pixels(value: &str) -> Translated {
    let pixels: u64 = value.parse().map_err(|_| "a number of pixels")?;
    Ok(Some((pixels / PIXELS_PER_TOKEN).to_string()))
}

/// Parses a switch, as Python's programs write them.
fn is_on(value: &str) -> Result<bool, &'static str> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("true, 1, yes or on, false, 0, no or off"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::foreign::{FOREIGN, Meaning, Translate};

    /// Name, value, and what it is here: `=text`, empty if it is the default, or a part of the error after `!`.
    const CASES: &[(&str, &str, &str)] = &[
        ("USE_QUANTIZATION", "true", "=4bit"),
        ("USE_QUANTIZATION", "Yes", "=4bit"),
        ("USE_QUANTIZATION", "0", "=none"),
        ("USE_QUANTIZATION", "4bit", "!true, 1"),
        ("CELERY_CONCURRENCY", "1", "=auto"),
        ("CELERY_CONCURRENCY", "4", "=4"),
        ("CELERY_CONCURRENCY", "0", "!from 1"),
        ("CELERY_CONCURRENCY", "many", "!from 1"),
        ("CELERY_BROKER_URL", "redis://:secret@cache:6379/1", "=redis://:secret@cache:6379/1"),
        ("CELERY_BROKER_URL", "rediss://cache", "=rediss://cache"),
        ("CELERY_BROKER_URL", "amqp://guest:secret@rabbit", "!a Redis"),
        ("CELERY_TASK_TIME_LIMIT", "60", "=60"),
        ("CELERY_RESULT_EXPIRES", "600", "=600"),
        ("REDIS_DB", "0", ""),
        ("REDIS_DB", "2", "!REDIS_URL=redis://HOST:PORT/NUMBER"),
        ("FASTAPI_HOST", "0.0.0.0", "=0.0.0.0"),
        ("FASTAPI_PORT", "8080", "=8080"),
        ("MAX_INFERENCE_QUEUE_SIZE", "32", "=32"),
        ("MAX_INFERENCE_BATCH_SIZE", "4", "=4"),
        ("MAX_IMAGE_SIZE", "10485760", "=10485760"),
        ("ENABLE_SERVER_IMAGE_DOWNLOAD", "true", "=public"),
        ("ENABLE_SERVER_IMAGE_DOWNLOAD", "false", "=off"),
        ("ENABLE_SERVER_IMAGE_DOWNLOAD", "public", "!true, 1"),
        ("LLM_MODEL_ID", "Qwen/Qwen2.5-14B-Instruct", "=Qwen/Qwen2.5-14B-Instruct"),
        ("QWEN_MODEL_SIZE", "4b", "=Qwen/Qwen3-VL-4B-Instruct"),
        ("QWEN_MODEL_SIZE", "7B", "=Qwen/Qwen2.5-VL-7B-Instruct"),
        ("QWEN_MODEL_SIZE", "13B", "!set MODEL_NAME"),
        ("QWEN_MODEL_VARIANT", "Instruct", ""),
        ("QWEN_MODEL_VARIANT", "thinking", "!set MODEL_NAME"),
        ("QWEN_QUANTIZATION", "4bit", "=4bit"),
        ("QWEN_DEVICE_MAP", "auto", "=auto"),
        ("QWEN_MAX_NEW_TOKENS", "4096", "=4096"),
        ("QWEN_MAX_PIXELS", "1605632", "=2048"),
        ("QWEN_MAX_PIXELS", "large", "!pixels"),
    ];

    fn translation(name: &str) -> Translate {
        let found = FOREIGN.iter().find(|foreign| foreign.name == name);
        match found.map(|foreign| foreign.meaning) {
            Some(Meaning::Setting { translate, .. }) => translate,
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn values_are_translated_or_refused_with_what_is_allowed() {
        for (name, value, expected) in CASES {
            let translated = translation(name)(value);
            match (expected.strip_prefix('='), expected.strip_prefix('!')) {
                (Some(text), _) => {
                    assert_eq!(translated, Ok(Some(text.to_owned())), "{name}={value}")
                }
                (_, Some(part)) => {
                    let allowed = translated.expect_err(name);
                    assert!(allowed.contains(part), "{name}={value}: {allowed}");
                    assert!(!allowed.contains("secret"), "{name}: {allowed}");
                }
                _ => assert_eq!(translated, Ok(None), "{name}={value}"),
            }
        }
    }

    #[test]
    fn every_translation_has_a_case() {
        let tested: BTreeSet<_> = CASES.iter().map(|(name, ..)| *name).collect();
        let translated =
            FOREIGN.iter().filter(|foreign| matches!(foreign.meaning, Meaning::Setting { .. }));
        assert_eq!(tested, translated.map(|foreign| foreign.name).collect::<BTreeSet<_>>());
    }
}
