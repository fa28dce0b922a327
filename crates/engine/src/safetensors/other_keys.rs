//! Checks the keys of a `config.json` that [`config`](super::config) does not read. Accepts values that match the
//! decoder and keys that do not affect the computation; refuses all other keys by name.

use serde_json::Value as Json;

use super::CONFIG as FILE;
use super::json::Object;
use super::seeing::DEEPSTACK;
use crate::LoadError;
use crate::architecture::Architecture;
use crate::gguf::Metadata;

/// The names of supported models in `architectures`: of text models and of models that see.
const TEXT_MODELS: [&str; 5] = [
    "Qwen2ForCausalLM",
    "Qwen2MoeForCausalLM",
    "Qwen3ForCausalLM",
    "Qwen3MoeForCausalLM",
    "Qwen3NextForCausalLM",
];
const SEEING_MODELS: [&str; 8] = [
    "Qwen2VLForConditionalGeneration",
    "Qwen2_5_VLForConditionalGeneration",
    "Qwen3VLForConditionalGeneration",
    "Qwen3VLMoeForConditionalGeneration",
    "Qwen3_5ForConditionalGeneration",
    "Qwen3_5ForCausalLM",
    "Qwen3_5MoeForConditionalGeneration",
    "Qwen3_5MoeForCausalLM",
];

/// Parts of the names of classification and reward models in `architectures`.
const SCORING_MODEL_PARTS: [&str; 6] =
    ["Classification", "RewardModel", "Reward", "QuestionAnswering", "MultipleChoice", "ValueHead"];

/// Keys that do not affect the computation, whatever their values.
const HARMLESS: &[&str] = &[
    // Training.
    "attention_dropout",
    "gradient_checkpointing",
    "hidden_dropout",
    "initializer_range",
    "output_router_logits",
    "pretraining_tp",
    "router_aux_loss_coef",
    // Execution.
    "attn_implementation",
    "chunk_size_feed_forward",
    "dtype",
    "dual_chunk_attention_config", // of vLLM, for contexts beyond the one that is told
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "return_dict",
    "return_dict_in_generate",
    "tf_legacy_loss",
    "torch_dtype",
    "torchscript",
    "use_bfloat16",
    "use_cache",
    // Windows, which are enabled by use_sliding_window.
    "max_window_layers",
    "sliding_window",
    // Tokens: those that end an answer are read with the tokenizer.
    "begin_suppress_tokens",
    "bos_token_id",
    "cls_token_id",
    "decoder_start_token_id",
    "eos_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "mask_token_id",
    "pad_token_id",
    "sep_token_id",
    "suppress_tokens",
    "tokenizer_class",
    "unk_token_id",
    // Sampling: read from generation_config.json.
    "bad_words_ids",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "length_penalty",
    "max_length",
    "max_new_tokens",
    "min_length",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "remove_invalid_values",
    "repetition_penalty",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    // Keys of other kinds of models; transformers writes them for all.
    "add_cross_attention",
    "cross_attention_hidden_size",
    "finetuning_task",
    "id2label",
    "is_decoder",
    "is_encoder_decoder",
    "label2id",
    "num_labels",
    "prefix",
    "problem_type",
    "pruned_heads",
    "task_specific_params",
    "tie_encoder_decoder",
    // Weights that are quantized already: read with the method.
    "quantization_config",
    // Metadata.
    "license",
    "model_max_length",
    "name_or_path",
    "transformers_version",
];

/// The same of hybrid models: layers that predict further tokens (MTP) are not loaded, and states are always in f32.
const HARMLESS_OF_HYBRIDS: [&str; 3] =
    ["mamba_ssm_dtype", "mtp_num_hidden_layers", "mtp_use_dedicated_embeddings"];

/// Prefixes of keys that tools add as notes.
const NOTE_KEY_PREFIXES: [&str; 2] = ["_", "unsloth_"];

/// Refuses models that do not generate text, and those that need custom code.
pub(super) fn refuse_non_generative_models(
    sees: bool,
    config: &Object,
    metadata: &Metadata,
) -> Result<(), LoadError> {
    let supported: &[&str] = if sees { &SEEING_MODELS } else { &TEXT_MODELS };
    let names = config.get("architectures").and_then(Json::as_array);
    for name in names.into_iter().flatten().filter_map(Json::as_str) {
        if SCORING_MODEL_PARTS.iter().any(|part| name.contains(part)) {
            return Err(metadata.unsupported(format!(
                "it is a classifier or reward model ({name:?} in architectures of {FILE}), which gives scores \
                 and not text: choose a model that writes text"
            )));
        }
        if !supported.contains(&name) {
            let [others @ .., last] = supported else { continue };
            return Err(metadata.unsupported(format!(
                "it is a {name:?} (architectures of {FILE}); supported are {} and {last}",
                others.join(", ")
            )));
        }
    }
    let code = config.get("auto_map").and_then(Json::as_object);
    let computes = |name: &&String| name.starts_with("AutoModel") || name.as_str() == "AutoConfig";
    match code.into_iter().flat_map(|map| map.keys()).find(computes) {
        Some(name) => Err(metadata.unsupported(format!(
            "it is computed by code of its own ({name} in auto_map of {FILE}), which is never run here: choose \
             a model that transformers computes by itself"
        ))),
        None => Ok(()),
    }
}

/// Refuses values for which transformers would compute something else than the decoder.
pub(super) fn refuse_unsupported_values(
    architecture: Architecture,
    config: &Object,
    metadata: &Metadata,
) -> Result<(), LoadError> {
    let of_qwen2 = architecture.name.starts_with("qwen2");
    let is_hybrid = architecture.delta.is_some();
    for (key, allowed) in [
        ("hidden_act", Json::from("silu")),
        ("attention_bias", Json::from(false)),
        ("use_sliding_window", Json::from(false)),
        ("is_causal", Json::from(true)),
        ("mlp_bias", Json::from(false)),
        ("use_mrope", Json::from(false)),
        ("use_qk_norm", Json::from(!of_qwen2)),
        ("qkv_bias", Json::from(of_qwen2)),
        ("attn_output_gate", Json::from(is_hybrid)),
    ] {
        refuse_unless(config, metadata, key, &allowed)?;
    }
    if is_hybrid {
        for key in HARMLESS_OF_HYBRIDS {
            let _ = config.get(key);
        }
        for (key, allowed) in [
            ("output_gate_type", Json::from("swish")),
            ("decoder_sparse_step", Json::from(1)),
            ("mlp_only_layers", Json::Array(Vec::new())),
            (DEEPSTACK, Json::Array(Vec::new())),
        ] {
            refuse_unless(config, metadata, key, &allowed)?;
        }
        return Ok(());
    }
    let rotated = config.get("partial_rotary_factor");
    if rotated.is_some_and(|rotated| rotated.as_f64() != Some(1.0)) {
        refuse_unless(config, metadata, "partial_rotary_factor", &Json::from(1.0))?;
    }
    let layers = config.get("layer_types").and_then(Json::as_array);
    match layers.into_iter().flatten().find(|kind| **kind != "full_attention") {
        Some(kind) => Err(metadata.unsupported(format!(
            "layer_types of {FILE} names {kind}; supported is \"full_attention\""
        ))),
        None => Ok(()),
    }
}

fn refuse_unless(
    config: &Object,
    metadata: &Metadata,
    key: &str,
    allowed: &Json,
) -> Result<(), LoadError> {
    match config.get(key).filter(|value| *value != allowed) {
        None => Ok(()),
        Some(value) => Err(metadata
            .unsupported(format!("{key} of {FILE} is {}; supported is {allowed}", short(value)))),
    }
}

/// Refuses a key that was not read, unless it does not affect the computation.
pub(super) fn refuse_unknown_keys(config: &Object, metadata: &Metadata) -> Result<(), LoadError> {
    let is_harmless = |key: &str| {
        HARMLESS.contains(&key) || NOTE_KEY_PREFIXES.iter().any(|note| key.starts_with(note))
    };
    let mut rest: Vec<(&str, &Json)> = config.rest().filter(|(key, _)| !is_harmless(key)).collect();
    rest.sort_unstable_by_key(|(key, _)| *key);
    let Some((key, value)) = rest.first() else { return Ok(()) };
    let more = match rest.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more keys)"),
    };
    Err(metadata.unsupported(format!(
        "{key} of {FILE} is {}{more}, and what that changes in the computation is not known here, so its \
         answers could be wrong: take the key out of {FILE} if it changes nothing, or choose another model",
        short(value)
    )))
}

fn short(value: &Json) -> String {
    value.to_string().chars().take(60).collect()
}
