//! The sizes in the JSON files beside safetensors.

use serde_json::Value;

use super::super::size::PixelRange;
use super::super::spec::{Family, TowerSpec, Windows};
use super::tensors::FolderTensors;
use crate::LoadError;
use crate::safetensors::{Object, SafetensorsError};

/// Reads the sizes of a tower.
pub(super) fn spec(folder: &FolderTensors) -> Result<TowerSpec, LoadError> {
    let error = |problem| folder.error(problem);
    let config = &folder.config;
    let kind = config.text("model_type").map_err(error)?;
    let family = match kind {
        Some("qwen2_vl") => Family::Qwen2Vl,
        Some("qwen2_5_vl") => Family::Qwen25Vl,
        Some("qwen3_vl" | "qwen3_vl_moe" | "qwen3_5" | "qwen3_5_moe") => Family::Qwen3Vl,
        other => {
            let found = other.unwrap_or("missing");
            return Err(LoadError::Unsupported {
                file: folder.label().to_owned(),
                problem: format!(
                    "its model_type is {found}; supported for images are qwen2_vl, qwen2_5_vl, qwen3_vl, \
                     qwen3_vl_moe, qwen3_5 and qwen3_5_moe"
                ),
            });
        }
    };
    let Some(vision) = config.get("vision_config").and_then(Value::as_object) else {
        return Err(error(config.missing("vision_config", "an object")));
    };
    let vision = Object::new("config.json", vision.clone());
    read(&vision, family, folder.preprocessor.as_ref()).map_err(error)
}

fn read(
    vision: &Object,
    family: Family,
    preprocessor: Option<&Object>,
) -> Result<TowerSpec, SafetensorsError> {
    let count = |key: &str, default: Option<usize>| match vision.integer(key)? {
        Some(count) => Ok(usize::try_from(count).unwrap_or(usize::MAX)),
        None => default.ok_or_else(|| vision.missing(key, "an integer from 1")),
    };
    // In Qwen2-VL `hidden_size` is the width of the text model.
    let (width, out) = match family {
        Family::Qwen2Vl => (count("embed_dim", Some(1280))?, count("hidden_size", None)?),
        _ => (count("hidden_size", None)?, count("out_hidden_size", None)?),
    };
    let common = TowerSpec::of_family(family, out);
    let patch = count("patch_size", Some(common.patch))?;
    let merge = count("spatial_merge_size", Some(common.merge))?;
    let feed_forward = match family {
        Family::Qwen2Vl => {
            let ratio = vision.number("mlp_ratio")?.unwrap_or(4.0);
            (width as f64 * ratio) as usize
        }
        _ => count("intermediate_size", None)?,
    };
    let blocks = |key: &str| -> Result<Option<Vec<usize>>, SafetensorsError> {
        let Some(listed) = vision.integers(key)? else { return Ok(None) };
        Ok(Some(listed.iter().filter_map(|block| usize::try_from(*block).ok()).collect()))
    };
    let windows = match &common.windows {
        None => None,
        Some(usual) => Some(Windows {
            side: count("window_size", Some(112))? / (patch * merge).max(1),
            whole: blocks("fullatt_block_indexes")?.unwrap_or_else(|| usual.whole.clone()),
        }),
    };
    let position_side = match family {
        Family::Qwen3Vl => Some(count("num_position_embeddings", Some(2304))?.isqrt()),
        _ => None,
    };
    let mut spec = TowerSpec {
        patch,
        merge,
        temporal: count("temporal_patch_size", Some(common.temporal))?,
        width,
        depth: count("depth", None)?,
        heads: count("num_heads", None)?,
        feed_forward,
        position_side,
        deepstack: blocks("deepstack_visual_indexes")?.unwrap_or_default(),
        windows,
        tokens_per_second: vision.number("tokens_per_second")?.unwrap_or(common.tokens_per_second),
        ..common
    };
    if let Some(preprocessor) = preprocessor {
        normalization(preprocessor, &mut spec)?;
    }
    Ok(spec)
}

/// Reads the normalization and the range of pixels of `preprocessor_config.json`.
fn normalization(preprocessor: &Object, spec: &mut TowerSpec) -> Result<(), SafetensorsError> {
    for (key, values) in [("image_mean", &mut spec.mean), ("image_std", &mut spec.deviation)] {
        let Some(found) = preprocessor.get(key) else { continue };
        let numbers = found.as_array().map(|all| all.iter().filter_map(Value::as_f64));
        let numbers: Vec<f32> =
            numbers.map_or_else(Vec::new, |numbers| numbers.map(|n| n as f32).collect());
        *values = <[f32; 3]>::try_from(numbers)
            .map_err(|_| preprocessor.wrong(key, "three numbers", found))?;
    }
    // Despite the names these are numbers of pixels.
    let size = preprocessor.get("size").and_then(Value::as_object);
    let edge = |key: &str| size.and_then(|size| size.get(key)?.as_u64());
    let min = preprocessor.integer("min_pixels")?.or_else(|| edge("shortest_edge"));
    let max = preprocessor.integer("max_pixels")?.or_else(|| edge("longest_edge"));
    let range =
        PixelRange { min: min.unwrap_or(spec.pixels.min), max: max.unwrap_or(spec.pixels.max) };
    match range.min <= range.max && range.max > 0 {
        true => spec.pixels = range,
        false => {
            let found = Value::from(format!("{}..{}", range.min, range.max));
            return Err(preprocessor.wrong("size", "a range of numbers of pixels", &found));
        }
    }
    Ok(())
}
