//! The metadata of a synthetic model: everything that a loader reads except weights.

use super::shapes::{DELTA_DIM, DeltaShape};
use super::{SynthQuant, SynthShape};
use crate::gguf::{Array, Value};
use crate::model::FeedForward;
use crate::text::byte_level::char_of;
use crate::text::chat::CHATML;

/// The id of Qwen's first special token, and the special tokens with their types: 3 is a control
/// token, 4 a user-defined one, which is shown in text.
const FIRST_SPECIAL: usize = 151_643;
const SPECIAL: [(&str, i64); 26] = [
    ("<|endoftext|>", 3),
    ("<|im_start|>", 3),
    ("<|im_end|>", 3),
    ("<|object_ref_start|>", 3),
    ("<|object_ref_end|>", 3),
    ("<|box_start|>", 3),
    ("<|box_end|>", 3),
    ("<|quad_start|>", 3),
    ("<|quad_end|>", 3),
    ("<|vision_start|>", 3),
    ("<|vision_end|>", 3),
    ("<|vision_pad|>", 3),
    ("<|image_pad|>", 3),
    ("<|video_pad|>", 3),
    ("<tool_call>", 4),
    ("</tool_call>", 4),
    ("<|fim_prefix|>", 4),
    ("<|fim_middle|>", 4),
    ("<|fim_suffix|>", 4),
    ("<|fim_pad|>", 4),
    ("<|repo_name|>", 4),
    ("<|file_sep|>", 4),
    ("<tool_response>", 4),
    ("</tool_response>", 4),
    ("<think>", 4),
    ("</think>", 4),
];

/// Returns the metadata of a model of this shape.
pub(super) fn metadata(shape: &SynthShape, quant: SynthQuant) -> Vec<(String, Value)> {
    let architecture = shape.architecture.name;
    let text = |text: &str| Value::String(text.to_owned());
    let number = |number: usize| Value::Int(number as i128);
    let name = format!("synthetic {} {}", shape.name, quant.name());
    let mut metadata = vec![
        ("general.architecture".to_owned(), text(architecture)),
        ("general.name".to_owned(), text(&name)),
        ("general.quantization_version".to_owned(), number(2)),
        ("general.file_type".to_owned(), Value::Int(quant.file_type())),
    ];
    for (key, value) in [
        ("block_count", number(shape.layers)),
        ("context_length", number(shape.context_length)),
        ("embedding_length", number(shape.hidden)),
        ("attention.head_count", number(shape.heads)),
        ("attention.head_count_kv", number(shape.kv_heads)),
        ("attention.key_length", number(shape.head_dim)),
        ("attention.value_length", number(shape.head_dim)),
        ("attention.layer_norm_rms_epsilon", Value::Float(1e-6)),
        ("rope.freq_base", Value::Float(if shape.delta.is_some() { 1e7 } else { 1e6 })),
    ] {
        metadata.push((format!("{architecture}.{key}"), value));
    }
    let widths = match shape.feed_forward {
        FeedForward::Dense { ffn } => vec![("feed_forward_length", Some(ffn))],
        FeedForward::Experts(experts) => vec![
            ("expert_count", Some(experts.count)),
            ("expert_used_count", Some(experts.used)),
            ("expert_feed_forward_length", Some(experts.ffn)),
            ("expert_shared_feed_forward_length", experts.shared_ffn),
        ],
    };
    for (key, width) in widths {
        metadata.extend(width.map(|width| (format!("{architecture}.{key}"), number(width))));
    }
    if shape.architecture.mrope.is_some() {
        // The pairs of a head that are rotated by time, height and width: of 128 numbers, or of 64 in hybrid models.
        let sections = if shape.delta.is_some() { [11, 11, 10, 0] } else { [24, 20, 20, 0] };
        let sections = Value::Array(Array::Int(sections.to_vec()));
        metadata.push((format!("{architecture}.rope.dimension_sections"), sections));
    }
    if shape.architecture.deepstack {
        metadata.push((format!("{architecture}.n_deepstack_layers"), number(shape.deepstack)));
    }
    if let Some(DeltaShape { key_heads, value_heads }) = shape.delta {
        for (key, count) in [
            ("rope.dimension_count", 64),
            ("full_attention_interval", 4),
            ("ssm.conv_kernel", 4),
            ("ssm.state_size", DELTA_DIM),
            ("ssm.group_count", key_heads),
            ("ssm.time_step_rank", value_heads),
            ("ssm.inner_size", value_heads * DELTA_DIM),
        ] {
            metadata.push((format!("{architecture}.{key}"), number(count)));
        }
    }
    let (tokens, kinds, merges) = vocabulary(shape.vocab);
    let first_special = first_special(shape.vocab);
    for (key, value) in [
        ("model", text("gpt2")),
        ("pre", text("qwen2")),
        ("tokens", Value::Array(Array::String(tokens))),
        ("token_type", Value::Array(Array::Int(kinds))),
        ("merges", Value::Array(Array::String(merges))),
        ("eos_token_id", number(first_special + 2)),
        ("padding_token_id", number(first_special)),
        ("bos_token_id", number(first_special)),
        ("add_bos_token", Value::Bool(false)),
    ] {
        metadata.push((format!("tokenizer.ggml.{key}"), value));
    }
    metadata.push(("tokenizer.chat_template".to_owned(), text(CHATML)));
    metadata
}

/// Returns the id of the first special token in a vocabulary of `len` tokens: as in Qwen's, or as
/// late as a smaller vocabulary allows.
fn first_special(len: usize) -> usize {
    FIRST_SPECIAL.min(len - SPECIAL.len())
}

/// Returns tokens, token types and merges: all bytes, all pairs of bytes, and triples up to the
/// special tokens.
fn vocabulary(len: usize) -> (Vec<String>, Vec<i64>, Vec<String>) {
    let bytes: Vec<char> = (0..=255).map(char_of).collect();
    let mut tokens: Vec<String> = bytes.iter().map(char::to_string).collect();
    let mut merges = Vec::new();
    let longer = 1..; // pairs after the bytes, triples after the pairs
    'fill: for length in longer {
        let range = if length == 1 { 0..256 } else { 256..256 + 256 * 256 };
        for first in range {
            for second in &bytes {
                if tokens.len() == first_special(len) {
                    break 'fill;
                }
                merges.push(format!("{} {second}", tokens[first]));
                tokens.push(format!("{}{second}", tokens[first]));
            }
        }
    }
    let mut kinds = vec![1; tokens.len()];
    for (text, kind) in SPECIAL {
        tokens.push(text.to_owned());
        kinds.push(kind);
    }
    for index in tokens.len()..len {
        tokens.push(format!("[PAD{index}]"));
        kinds.push(5);
    }
    (tokens, kinds, merges)
}
