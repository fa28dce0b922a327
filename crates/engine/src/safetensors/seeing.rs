//! The text model's part of the config of a model that sees.
//!
//! Old configs of Qwen2-VL and Qwen2.5-VL have the text model's keys beside `vision_config`. Newer ones, and those of
//! Qwen3-VL, have them in `text_config`; some tools write them in both places, where `text_config` counts.

use std::path::Path;

use serde_json::{Map, Value};

use super::json::Object;
use super::{CONFIG, SafetensorsError};
use crate::architecture::Architecture;

/// The tower, which `vision::read` reads.
const VISION: &str = "vision_config";
const TEXT: &str = "text_config";

/// The number of layers after which an image's rows are added to (DeepStack), as a key of the text model's config.
pub(super) const DEEPSTACK: &str = "deepstack_visual_indexes";

/// Keys about images that the text model does not need. Tokens are found by their texts.
const OF_IMAGES: [&str; 6] = [
    VISION,
    "image_token_id",
    "video_token_id",
    "vision_token_id",
    "vision_start_token_id",
    "vision_end_token_id",
];

/// Reads the config of a folder: that of the text model, if the model sees. `None` if there is none.
///
/// # Errors
/// If it can't be read, or is no object.
pub(super) fn text_config(folder: &Path) -> Result<Option<Object>, SafetensorsError> {
    let Some(config) = Object::read(folder, CONFIG)? else { return Ok(None) };
    let model_type = config.get("model_type").and_then(Value::as_str);
    if model_type.and_then(Architecture::of_model_type).is_none_or(|one| one.mrope.is_none()) {
        return Ok(Some(config));
    }
    let part = |key: &str| match config.get(key) {
        None => Ok(None),
        Some(Value::Object(part)) => Ok(Some(part)),
        Some(other) => Err(config.wrong(key, "an object", other)),
    };
    let mut merged = config.values.clone();
    merged.remove(TEXT);
    if let Some(text) = part(TEXT)? {
        overlay(&mut merged, text);
    }
    OF_IMAGES.iter().for_each(|key| drop(merged.remove(*key)));
    if let Some(added) = part(VISION)?.and_then(|vision| vision.get(DEEPSTACK)) {
        merged.insert(DEEPSTACK.to_owned(), added.clone());
    }
    Ok(Some(Object::new(CONFIG, merged)))
}

/// Replaces the values of the whole model by those of its text model, except those that describe the whole.
fn overlay(whole: &mut Map<String, Value>, text: &Map<String, Value>) {
    const TIED: &str = "tie_word_embeddings";
    for (key, value) in text.iter().filter(|(_, value)| !value.is_null()) {
        match (key.as_str(), whole.get(key)) {
            ("model_type" | "architectures", _) => {}
            // Versions of transformers differ in which of the two counts: the files decide.
            (TIED, Some(Value::Bool(false))) if *value == Value::Bool(true) => {
                whole.remove(key);
            }
            (TIED, Some(Value::Bool(_))) => {}
            _ => drop(whole.insert(key.clone(), value.clone())),
        }
    }
}
