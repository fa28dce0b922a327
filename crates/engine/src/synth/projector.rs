//! Writes the projector (mmproj) of a tower with random weights, under the names and keys of llama.cpp.

use std::io;
use std::path::Path;

use candle_core::quantized::GgmlDType;

use super::SynthQuant;
use super::quant::Role;
use super::write::write;
use crate::gguf::{Array, TensorSpec, Value};
use crate::vision::{Family, TowerSpec};

/// Writes a projector of the family Qwen3-VL and returns its size in bytes. The same seed writes the same file.
///
/// # Errors
/// If the family is another one, or the file can't be written.
pub fn synthesize_projector(
    spec: &TowerSpec,
    quant: SynthQuant,
    seed: u64,
    output: &Path,
) -> io::Result<u64> {
    if spec.family != Family::Qwen3Vl {
        return Err(io::Error::other("only projectors of Qwen3-VL and later can be written"));
    }
    write(&metadata(spec, quant), &tensors(spec, quant), seed, output, |_, _| ())
}

/// Returns the keys that this engine and llama.cpp read.
fn metadata(spec: &TowerSpec, quant: SynthQuant) -> Vec<(String, Value)> {
    let text = |text: &str| Value::String(text.to_owned());
    let number = |number: usize| Value::Int(number as i128);
    let numbers = |numbers: [f32; 3]| Value::Array(Array::Float(numbers.to_vec()));
    let side = spec.position_side.unwrap_or(0) * spec.patch;
    let mut metadata = vec![
        ("general.architecture".to_owned(), text("clip")),
        ("general.file_type".to_owned(), Value::Int(quant.file_type())),
        ("clip.has_vision_encoder".to_owned(), Value::Bool(true)),
        ("clip.projector_type".to_owned(), text("qwen3vl_merger")),
        ("clip.use_gelu".to_owned(), Value::Bool(true)),
    ];
    let flags = (0..spec.depth).map(|block| spec.deepstack.contains(&block)).collect();
    for (key, value) in [
        ("image_size", number(side)),
        ("patch_size", number(spec.patch)),
        ("spatial_merge_size", number(spec.merge)),
        ("embedding_length", number(spec.width)),
        ("feed_forward_length", number(spec.feed_forward)),
        ("projection_dim", number(spec.out)),
        ("block_count", number(spec.depth)),
        ("attention.head_count", number(spec.heads)),
        ("attention.layer_norm_epsilon", Value::Float(f64::from(spec.eps))),
        ("image_mean", numbers(spec.mean)),
        ("image_std", numbers(spec.deviation)),
        ("is_deepstack_layers", Value::Array(Array::Bool(flags))),
    ] {
        metadata.push((format!("clip.vision.{key}"), value));
    }
    metadata
}

/// Returns every tensor, with its format. The patch embedding and the positions are not quantized, as in llama.cpp.
fn tensors(spec: &TowerSpec, quant: SynthQuant) -> Vec<TensorSpec> {
    let mut tensors = Vec::new();
    let mut add = |name: String, shape: Vec<usize>, dtype: GgmlDType| {
        tensors.push(TensorSpec { name, shape, dtype: dtype.into() });
    };
    let (patch, width, inner) = (spec.patch, spec.width, spec.token_len());
    for name in ["v.patch_embd.weight", "v.patch_embd.weight.1"] {
        add(name.to_owned(), vec![width, 3, patch, patch], GgmlDType::F16);
    }
    add("v.patch_embd.bias".to_owned(), vec![width], GgmlDType::F32);
    let side = spec.position_side.unwrap_or(0);
    add("v.position_embd.weight".to_owned(), vec![side * side, width], GgmlDType::F32);
    let mut norms = vec![("v.post_ln".to_owned(), width)];
    let mut matrices =
        vec![("mm.0".to_owned(), inner, inner), ("mm.2".to_owned(), spec.out, inner)];
    for block in 0..spec.depth {
        let name = |part: &str| format!("v.blk.{block}.{part}");
        norms.extend([(name("ln1"), width), (name("ln2"), width)]);
        matrices.extend([
            (name("attn_qkv"), 3 * width, width),
            (name("attn_out"), width, width),
            (name("ffn_up"), spec.feed_forward, width),
            (name("ffn_down"), width, spec.feed_forward),
        ]);
    }
    for block in &spec.deepstack {
        let name = |part: &str| format!("v.deepstack.{block}.{part}");
        norms.push((name("norm"), inner));
        matrices.extend([(name("fc1"), inner, inner), (name("fc2"), spec.out, inner)]);
    }
    for (name, len) in norms {
        add(format!("{name}.weight"), vec![len], GgmlDType::F32);
        add(format!("{name}.bias"), vec![len], GgmlDType::F32);
    }
    for (name, outputs, inputs) in matrices {
        let dtype = quant.dtype(Role::Plain, inputs);
        add(format!("{name}.weight"), vec![outputs, inputs], dtype);
        add(format!("{name}.bias"), vec![outputs], GgmlDType::F32);
    }
    tensors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::{Precision, Tower};

    #[test]
    fn a_projector_is_loaded_as_the_tower_that_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mmproj.gguf");
        let mut spec = TowerSpec::of_name("qwen3-vl-2b", 64).unwrap();
        (spec.width, spec.depth, spec.heads, spec.feed_forward) = (64, 3, 4, 96);
        (spec.deepstack, spec.position_side) = (vec![1], Some(6));
        for quant in [SynthQuant::Q8_0, SynthQuant::F16] {
            let size = synthesize_projector(&spec, quant, 1, &path).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().len(), size);
            assert_eq!(*Tower::load(&path, Precision::EightBit).unwrap().spec(), spec);
        }
        let spec = TowerSpec::of_name("qwen2-vl", 64).unwrap();
        assert!(synthesize_projector(&spec, SynthQuant::F16, 1, &path).is_err());
    }
}
