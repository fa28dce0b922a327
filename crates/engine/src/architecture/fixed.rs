//! The architecture's keys that a file may have if they say what the decoder computes anyway. With the keys
//! that are read elsewhere these are all: any other key is refused, as what it changes is not known.

use super::metadata::ModelMetadata;
use super::{FeedForward, ModelConfig};
use crate::error::LoadError;
use crate::gguf::Value;

/// Keys that change nothing that is computed, whatever they say.
const HARMLESS: [&str; 1] = ["rope.scaling.finetuned"];

/// Refuses a key that asks for something else than is computed for `config`, or that is unknown.
pub(super) fn check(metadata: &ModelMetadata<'_>, config: &ModelConfig) -> Result<(), LoadError> {
    if metadata.value("classifier.output_labels").is_some() {
        return Err(metadata.all.unsupported(format!(
            "it is a classifier or reward model ({} names its labels), which gives scores and not text: choose \
             a model that writes text",
            metadata.name("classifier.output_labels")
        )));
    }
    numbers(metadata, config)?;
    flags(metadata, config)?;
    sliding_window(metadata, config)?;
    HARMLESS.iter().for_each(|key| metadata.take(key));
    let rest = metadata.rest();
    let Some((key, value)) = rest.first() else { return Ok(()) };
    let more = match rest.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more keys)"),
    };
    Err(metadata.all.unsupported(format!(
        "metadata {:?} is {}{more}, and what that changes in a {} model is not known here, so its answers \
         could be wrong: choose another file of the model, or a newer version of this program",
        metadata.all.name_of(key),
        value.describe(),
        metadata.architecture
    )))
}

/// Numbers, each with those that it may be. Where several are allowed, they mean the same (0 stands for "not
/// set" in llama.cpp).
fn numbers(metadata: &ModelMetadata<'_>, config: &ModelConfig) -> Result<(), LoadError> {
    let (head_dim, vocab) = (config.head_dim as f64, config.vocab as f64);
    let rotary_dim = config.rotary_dim as f64;
    let shared = f64::from(config.architecture.experts.is_some_and(|rule| rule.shared));
    let attention_scale = [1.0 / head_dim.sqrt(), 0.0];
    let of_model = [[rotary_dim], [vocab], [shared], [config.deepstack_layers as f64]];
    let mut fixed: Vec<(&str, &[f64])> = vec![
        ("attention.clamp_kqv", &[0.0]),
        ("attention.max_alibi_bias", &[0.0]),
        ("attn_logit_softcapping", &[0.0]),
        ("embedding_scale", &[1.0, 0.0]),
        ("expert_gating_func", &[1.0, 0.0]), // softmax
        ("expert_group_count", &[0.0, 1.0]),
        ("expert_group_used_count", &[0.0, 1.0]),
        ("expert_weights_scale", &[1.0, 0.0]),
        ("final_logit_softcapping", &[0.0]),
        ("interleave_moe_layer_step", &[1.0, 0.0]),
        ("leading_dense_block_count", &[0.0]),
        ("logit_scale", &[1.0, 0.0]),
        ("moe_every_n_layers", &[1.0, 0.0]),
        ("residual_scale", &[1.0, 0.0]),
        ("rope.scale_linear", &[1.0, 0.0]),
        ("rope.scaling.yarn_ext_factor", &[1.0, -1.0]),
        ("rope.scaling.yarn_log_multiplier", &[0.0]),
        ("router_logit_softcapping", &[0.0]),
    ];
    fixed.push(("attention.scale", &attention_scale));
    fixed.push(("rope.dimension_count", &of_model[0]));
    fixed.push(("vocab_size", &of_model[1]));
    fixed.push(("expert_shared_count", &of_model[2]));
    fixed.push(("n_deepstack_layers", &of_model[3]));
    if config.delta.is_none() {
        fixed.push(("nextn_predict_layers", &[0.0]));
    }
    match config.feed_forward {
        FeedForward::Dense { .. } => {
            fixed.extend([
                ("expert_count", [0.0].as_slice()),
                ("expert_used_count", &[0.0]),
                ("expert_feed_forward_length", &[0.0]),
                ("expert_shared_feed_forward_length", &[0.0]),
            ]);
        }
        FeedForward::Experts(experts) => {
            // The width of what these models do not have: a block for all tokens.
            metadata.take("feed_forward_length");
            if experts.shared_ffn.is_none() {
                fixed.push(("expert_shared_feed_forward_length", &[0.0]));
            }
        }
    }
    for (key, allowed) in fixed {
        let found = match metadata.value(key) {
            None => continue,
            Some(Value::Int(number)) => *number as f64,
            Some(Value::Float(number)) => *number,
            Some(other) => return Err(refusal(metadata, key, other, allowed[0])),
        };
        let close = |allowed: &f64| (found - allowed).abs() <= 1e-5 * allowed.abs();
        if !allowed.iter().any(close) {
            return Err(refusal(metadata, key, &Value::Float(found), allowed[0]));
        }
    }
    Ok(())
}

fn flags(metadata: &ModelMetadata<'_>, config: &ModelConfig) -> Result<(), LoadError> {
    let normalized = match config.feed_forward {
        FeedForward::Experts(experts) => experts.normalized,
        FeedForward::Dense { .. } => false,
    };
    for (key, allowed) in [
        ("attention.causal", true),
        ("use_parallel_residual", false),
        ("expert_weights_norm", normalized),
        ("norm_top_k_prob", normalized),
    ] {
        match metadata.value(key) {
            Some(found) if *found != Value::Bool(allowed) => {
                return Err(refusal(metadata, key, found, allowed));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A window as wide as the context hides nothing.
fn sliding_window(metadata: &ModelMetadata<'_>, config: &ModelConfig) -> Result<(), LoadError> {
    let key = "attention.sliding_window";
    match metadata.get::<usize>(key)? {
        Some(window) if window != 0 && window < config.context_length => {
            let found = Value::Int(window as i128);
            Err(refusal(
                metadata,
                key,
                &found,
                format!("0, or the context of {}", config.context_length),
            ))
        }
        _ => Ok(()),
    }
}

fn refusal(
    metadata: &ModelMetadata<'_>,
    key: &str,
    found: &Value,
    allowed: impl std::fmt::Display,
) -> LoadError {
    metadata.all.unsupported(format!(
        "metadata {:?} is {}; supported of {} models is {allowed}",
        metadata.name(key),
        found.describe(),
        metadata.architecture
    ))
}
