//! The values of a config about a hybrid model's recurrent layers.

use serde_json::Value as Json;

use super::SafetensorsError;
use super::fused::HeadSizes;
use super::json::Object;

/// Integers: GGUF's key after the architecture, and the config's key.
const INTEGERS: [(&str, &str); 4] = [
    ("ssm.conv_kernel", "linear_conv_kernel_dim"),
    ("ssm.state_size", "linear_key_head_dim"),
    ("ssm.group_count", "linear_num_key_heads"),
    ("ssm.time_step_rank", "linear_num_value_heads"),
];

const VALUE_DIM: &str = "linear_value_head_dim";

/// Which layers are recurrent.
const LAYERS: &str = "layer_types";

/// The part of a head that is rotated.
const ROTATED: &str = "partial_rotary_factor";

/// The values of a hybrid model's recurrent layers.
pub(super) struct Recurrent {
    pub(super) heads: HeadSizes,
    /// GGUF's key after the architecture, the value, and the key of the config.
    pub(super) metadata: Vec<(&'static str, i128, &'static str)>,
}

impl Recurrent {
    /// Reads the sizes of recurrent layers, which layers are recurrent, and which part of a head is rotated.
    pub(super) fn read(config: &Object) -> Result<Self, SafetensorsError> {
        let require = |name: &str| match config.integer(name)? {
            Some(value) => Ok(value),
            None => Err(config.missing(name, "an integer from 1")),
        };
        let mut metadata = Vec::new();
        for (key, name) in INTEGERS {
            metadata.push((key, i128::from(require(name)?), name));
        }
        let values = require(VALUE_DIM)?.saturating_mul(require("linear_num_value_heads")?);
        metadata.push(("ssm.inner_size", values.into(), VALUE_DIM));
        metadata.push(("full_attention_interval", attention_interval(config)?.into(), LAYERS));
        let head_dim = config.integer("head_dim")?.unwrap_or(0) as f64;
        let rotated = head_dim * rotated_part(config)?;
        metadata.push(("rope.dimension_count", rotated as i128, ROTATED));
        let size =
            |name: &str| require(name).map(|value| usize::try_from(value).unwrap_or(usize::MAX));
        let heads = HeadSizes {
            key_heads: size("linear_num_key_heads")?,
            value_heads: size("linear_num_value_heads")?,
            key_dim: size("linear_key_head_dim")?,
            value_dim: size(VALUE_DIM)?,
        };
        Ok(Self { heads, metadata })
    }
}

/// Returns how many layers there are for one with attention.
fn attention_interval(config: &Object) -> Result<u64, SafetensorsError> {
    let layers = config.integer("num_hidden_layers")?.unwrap_or(0);
    let set = config.integer("full_attention_interval")?.filter(|interval| *interval > 0);
    let Some(types) = config.get(LAYERS) else { return Ok(set.unwrap_or(4)) };
    let wrong = || {
        let expected = format!(
            "\"linear_attention\" or \"full_attention\" for each of the {layers} layers, with attention in the last \
             of every so many"
        );
        config.wrong(LAYERS, expected, types)
    };
    let list = types.as_array().ok_or_else(wrong)?;
    let first = list.iter().position(|kind| kind == "full_attention");
    let interval = first.map_or(set.unwrap_or(layers + 1), |place| place as u64 + 1);
    let fits = |(place, kind): (usize, &Json)| {
        let attention = (place as u64 + 1).is_multiple_of(interval);
        kind == if attention { "full_attention" } else { "linear_attention" }
    };
    if list.len() as u64 != layers || !list.iter().enumerate().all(fits) {
        return Err(wrong());
    }
    Ok(interval)
}

/// Returns the part of a head that is rotated: a quarter, as in transformers, if the config does not say.
fn rotated_part(config: &Object) -> Result<f64, SafetensorsError> {
    let within = config.get("rope_parameters").and_then(|rope| rope.get(ROTATED));
    match (within.and_then(Json::as_f64), config.number(ROTATED)?) {
        (Some(part), _) | (None, Some(part)) => Ok(part),
        (None, None) => Ok(0.25),
    }
}
