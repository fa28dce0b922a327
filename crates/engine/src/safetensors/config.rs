//! Translates `config.json` to GGUF's metadata.
//!
//! The numbers are checked in the same place as those of a GGUF file, in
//! [`ModelConfig`](crate::model::ModelConfig). This module handles what only transformers' configs express.
//! Further keys of such configs are in [`other_keys`](super::other_keys).

use std::path::Path;

use serde_json::Value as Json;

use super::fused::HeadSizes;
use super::json::Object;
use super::prequantized::{self, Method};
use super::recurrent::Recurrent;
use super::{CONFIG as FILE, SafetensorsError, other_keys, seeing};
use crate::LoadError;
use crate::architecture::{Architecture, MropeOrder};
use crate::gguf::{Array, Metadata, Value};

/// Integers of mixture-of-experts models: GGUF's key after the architecture, and the config's keys.
const EXPERTS: [(&str, &[&str]); 3] = [
    ("expert_count", &["num_experts", "num_local_experts"]),
    ("expert_used_count", &["num_experts_per_tok"]),
    ("expert_feed_forward_length", &["moe_intermediate_size"]),
];

/// Required integers: GGUF's key after the architecture, and the config's key.
const INTEGERS: [(&str, &str); 6] = [
    ("block_count", "num_hidden_layers"),
    ("embedding_length", "hidden_size"),
    ("attention.head_count", "num_attention_heads"),
    ("attention.head_count_kv", "num_key_value_heads"),
    ("feed_forward_length", "intermediate_size"),
    ("context_length", "max_position_embeddings"),
];

/// Optional numbers of a RoPE scaling: GGUF's key after the architecture, and the config's key.
const SCALING: [(&str, &str); 4] = [
    ("rope.scaling.factor", "factor"),
    ("rope.scaling.yarn_attn_factor", "attention_factor"),
    ("rope.scaling.yarn_beta_fast", "beta_fast"),
    ("rope.scaling.yarn_beta_slow", "beta_slow"),
];

/// All supported keys of a scaling.
const YARN: [&str; 8] = [
    "rope_type",
    "type",
    "rope_theta",
    "factor",
    "original_max_position_embeddings",
    "attention_factor",
    "beta_fast",
    "beta_slow",
];

/// Keys of M-RoPE beside those of a scaling.
const MROPE: [&str; 2] = ["mrope_section", "mrope_interleaved"];

/// GGUF's key of the pairs that turn by time, height and width.
const SECTIONS: &str = "rope.dimension_sections";

/// Types of a scaling that leave the frequencies as they are.
const UNSCALED: [&str; 2] = ["default", "mrope"];

/// Values that the rest of this module needs.
pub(super) struct Facts {
    /// The number of the embedding's rows.
    pub(super) vocab: usize,
    /// The number of experts of a layer.
    pub(super) experts: usize,
    /// The heads of recurrent layers, if there are such layers.
    pub(super) heads: Option<HeadSizes>,
    /// How the weights were quantized, if they are.
    pub(super) prequantized: Option<Method>,
    /// Whether the embedding is also the head, if the config says so.
    pub(super) tied: Option<bool>,
    /// Whether the model sees images.
    pub(super) sees: bool,
}

/// Translates the config of a folder.
pub(super) fn read(
    folder: &Path,
    config: &Object,
    metadata: &mut Metadata,
) -> Result<Facts, LoadError> {
    let damaged = |problem| super::damaged(metadata.label(), problem);
    let known = architecture(config, metadata)?;
    let architecture = known.name;
    let prequantized = prequantized::method(folder, config, metadata)?;
    let sees = known.mrope.is_some();
    other_keys::refuse_non_generative_models(sees, config, metadata)?;
    refuse_unsupported_scalings(known, config, metadata)?;
    other_keys::refuse_unsupported_values(known, config, metadata)?;
    refuse_unsupported_experts(architecture, config, metadata)?;

    let mut values: Vec<(String, Value, String)> = Vec::new();
    let mut set = |key: &str, value: Value, origin: &str| {
        values.push((format!("{architecture}.{key}"), value, format!("{origin} of {FILE}")));
    };
    for (key, name) in INTEGERS {
        let value = config.integer(name).map_err(damaged)?;
        // Hybrid models of experts have no other block.
        let may_miss = known.delta.is_some() && known.experts.is_some();
        if value.is_none() && name == "intermediate_size" && may_miss {
            continue;
        }
        let value = value.ok_or_else(|| damaged(config.missing(name, "an integer from 1")))?;
        set(key, Value::Int(value.into()), name);
    }
    let mut heads = None;
    if known.delta.is_some() {
        let recurrent = Recurrent::read(config).map_err(damaged)?;
        heads = Some(recurrent.heads);
        for (key, value, name) in recurrent.metadata {
            set(key, Value::Int(value), name);
        }
    }
    let mut experts = 0;
    if known.experts.is_some() {
        for (key, names) in EXPERTS {
            let found = names.iter().map(|name| Ok((*name, config.integer(name)?)));
            let found = found.collect::<Result<Vec<_>, _>>().map_err(damaged)?;
            let mut said = found.into_iter().filter_map(|(name, value)| Some((name, value?)));
            let value = said.next();
            let (name, value) =
                value.ok_or_else(|| damaged(config.missing(names[0], "an integer from 1")))?;
            if key == EXPERTS[0].0 {
                experts = usize::try_from(value).unwrap_or(usize::MAX);
            }
            set(key, Value::Int(value.into()), name);
        }
        let shared = "shared_expert_intermediate_size";
        if let Some(width) = config.integer(shared).map_err(damaged)? {
            set("expert_shared_feed_forward_length", Value::Int(width.into()), shared);
        }
    }
    match config.integer("head_dim").map_err(damaged)? {
        Some(value) => set("attention.key_length", Value::Int(value.into()), "head_dim"),
        // Qwen3's heads are wider than its layers; Qwen2's are not, and its configs omit the key.
        None if architecture.starts_with("qwen2") => {}
        None => return Err(damaged(config.missing("head_dim", "an even integer"))),
    }
    let epsilon = config.number("rms_norm_eps").map_err(damaged)?;
    let epsilon = epsilon.ok_or_else(|| damaged(config.missing("rms_norm_eps", "above 0")))?;
    set("attention.layer_norm_rms_epsilon", Value::Float(epsilon), "rms_norm_eps");
    for (key, value, origin) in rope(known, config).map_err(damaged)? {
        set(key, value, origin);
    }
    if known.deepstack {
        let blocks = config.integers(seeing::DEEPSTACK).map_err(damaged)?.unwrap_or_default();
        set("n_deepstack_layers", Value::Int(blocks.len() as i128), seeing::DEEPSTACK);
    }
    let vocab = config.integer("vocab_size").map_err(damaged)?;
    let vocab = vocab.ok_or_else(|| damaged(config.missing("vocab_size", "an integer from 1")))?;
    let tied = config.flag("tie_word_embeddings").map_err(damaged)?;
    other_keys::refuse_unknown_keys(config, metadata)?;

    metadata.insert("general.architecture", Value::String(architecture.to_owned()), FILE);
    for (key, value, origin) in values {
        metadata.insert(&key, value, origin);
    }
    let vocab = usize::try_from(vocab).unwrap_or(usize::MAX);
    Ok(Facts { vocab, experts, heads, prequantized, tied, sees })
}

fn architecture(config: &Object, metadata: &Metadata) -> Result<Architecture, LoadError> {
    let damaged = |problem| super::damaged(metadata.label(), problem);
    let name = config.text("model_type").map_err(damaged)?;
    let name = name.ok_or_else(|| damaged(config.missing("model_type", "a text, like qwen3")))?;
    Architecture::of_model_type(name).ok_or_else(|| {
        let known: Vec<&str> =
            Architecture::ALL.iter().flat_map(|one| one.model_types).copied().collect();
        metadata.unsupported(format!(
            "its architecture is {name:?} (model_type of {FILE}); supported are {}",
            known.join(", ")
        ))
    })
}

/// Refuses configs that scale positions in a way that the decoder does not.
fn refuse_unsupported_scalings(
    architecture: Architecture,
    config: &Object,
    metadata: &Metadata,
) -> Result<(), LoadError> {
    for key in ["rope_scaling", "rope_parameters"] {
        let scaling = config.get(key).and_then(Json::as_object);
        let said = || scaling.into_iter().flatten().filter(|(_, value)| !value.is_null());
        // A config may rotate only part of each head; except in hybrid models the decoder rotates all of it.
        let turns_all = |name: &str, value: &Json| {
            let is_computed = architecture.delta.is_some() || value.as_f64() == Some(1.0);
            name == "partial_rotary_factor" && is_computed
        };
        let unknown = |(name, value): &(&String, &Json)| {
            ![YARN.as_slice(), &MROPE].concat().contains(&name.as_str()) && !turns_all(name, value)
        };
        if let Some((name, _)) = said().find(unknown) {
            let known = YARN.join(", ");
            return Err(metadata.unsupported(format!(
                "{key} of {FILE} has {name:?}; supported of yarn are {known}"
            )));
        }
        let stretches = said()
            .any(|(name, _)| !["rope_theta", "partial_rotary_factor"].contains(&name.as_str()));
        let names_type = said().any(|(name, _)| ["rope_type", "type"].contains(&name.as_str()));
        if stretches && !names_type {
            return Err(metadata.unsupported(format!(
                "{key} of {FILE} has no \"rope_type\"; supported are \"yarn\" and \"default\""
            )));
        }
    }
    Ok(())
}

/// Refuses configs that route or place experts in a way that the decoder does not.
fn refuse_unsupported_experts(
    architecture: &str,
    config: &Object,
    metadata: &Metadata,
) -> Result<(), LoadError> {
    // (the key, the supported value, transformers' default)
    let rules: &[(&str, bool, bool)] = match architecture {
        "qwen2moe" => &[("norm_topk_prob", false, false), ("qkv_bias", true, true)],
        "qwen3moe" => &[("norm_topk_prob", true, false)],
        "qwen3vlmoe" | "qwen3next" | "qwen35moe" => &[("norm_topk_prob", true, true)],
        _ => return Ok(()),
    };
    let rules = rules
        .iter()
        .map(|(key, computed, missing)| (*key, Json::from(*computed), Json::from(*missing)));
    let none = Json::Array(Vec::new());
    let everywhere = [
        ("decoder_sparse_step", Json::from(1), Json::from(1)),
        ("mlp_only_layers", none.clone(), none),
    ];
    for (key, computed, missing) in rules.chain(everywhere) {
        let value = config.get(key).unwrap_or(&missing);
        if *value != computed {
            let value: String = value.to_string().chars().take(60).collect();
            return Err(metadata.unsupported(format!(
                "{key} of {FILE} is {value}; supported of this kind of experts is {computed}"
            )));
        }
    }
    Ok(())
}

/// Reads the base of the frequencies and their scaling: from `rope_theta` and `rope_scaling`, or from
/// `rope_parameters`, which transformers 5 writes for both.
fn rope(
    architecture: Architecture,
    config: &Object,
) -> Result<Vec<(&'static str, Value, &'static str)>, SafetensorsError> {
    let mut values = Vec::new();
    let object = |key: &str| match config.get(key) {
        None => Ok(None),
        Some(Json::Object(values)) => Ok(Some(Object::new(FILE, values.clone()))),
        Some(other) => Err(config.wrong(key, "an object", other)),
    };
    let parameters = object("rope_parameters")?;
    let within = |key: &str| match &parameters {
        Some(parameters) => parameters.number(key),
        None => Ok(None),
    };
    match (config.number("rope_theta")?, within("rope_theta")?) {
        (Some(base), _) => values.push(("rope.freq_base", Value::Float(base), "rope_theta")),
        (None, Some(base)) => {
            values.push(("rope.freq_base", Value::Float(base), "rope_parameters.rope_theta"));
        }
        (None, None) => {
            return Err(config.missing("rope_theta", "a number, here or in rope_parameters"));
        }
    }
    for (key, object) in
        [("rope_scaling", object("rope_scaling")?), ("rope_parameters", parameters)]
    {
        let Some(scaling) = object else { continue };
        let kind = match scaling.text("rope_type")? {
            Some(kind) => Some(kind),
            None => scaling.text("type")?,
        };
        let interleaved = architecture.mrope == Some(MropeOrder::Interleaved);
        if scaling.flag("mrope_interleaved")?.is_some_and(|flag| flag != interleaved) {
            let expected = format!("{interleaved} in a {} model", architecture.name);
            let key = format!("{key}.mrope_interleaved");
            return Err(scaling.wrong(&key, expected, &(!interleaved).into()));
        }
        let sections = scaling.integers("mrope_section")?;
        if kind == Some("mrope") && sections.is_none() {
            return Err(
                scaling.missing("mrope_section", "three integers, as the type is \"mrope\"")
            );
        }
        if let Some(sections) = sections {
            values.push((SECTIONS, Value::Array(Array::Int(sections)), key));
        }
        let Some(kind) = kind.filter(|kind| !UNSCALED.contains(kind)) else { continue };
        values.push(("rope.scaling.type", Value::String(kind.to_owned()), key));
        if kind == "yarn" && scaling.get("factor").is_none() {
            return Err(scaling.missing("factor", "a number from 1, as YaRN stretches by it"));
        }
        for (ours, theirs) in SCALING {
            if let Some(number) = scaling.number(theirs)? {
                values.push((ours, Value::Float(number), key));
            }
        }
        if let Some(length) = scaling.integer("original_max_position_embeddings")? {
            let length = Value::Int(length.into());
            values.push(("rope.scaling.original_context_length", length, key));
        }
    }
    if architecture.mrope.is_some() && values.iter().all(|(key, ..)| *key != SECTIONS) {
        return Err(
            config.missing("mrope_section", "three integers, in rope_scaling or rope_parameters")
        );
    }
    Ok(values)
}

#[cfg(test)]
mod tests;
