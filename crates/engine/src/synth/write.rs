//! Writes the file of a synthetic model, piece by piece.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::metadata::metadata;
use super::quant::Role;
use super::{SynthQuant, SynthShape};
use crate::gguf::{TensorSpec, Value, Writer};
use crate::model::{Experts, FeedForward};

/// Numbers that are drawn and quantized once per format; the file repeats pieces of them.
const TILE: usize = 1 << 18;
/// Numbers per piece.
const PIECE: usize = 1 << 12;

/// Options of [`synthesize`].
#[derive(Debug, Clone)]
pub struct SynthOptions {
    /// The shape.
    pub shape: SynthShape,
    /// The quantization.
    pub quant: SynthQuant,
    /// The seed of the weights. The same seed writes the same file.
    pub seed: u64,
    /// The path to write to. An existing file is replaced.
    pub output: PathBuf,
}

/// Writes a model with random weights and returns its size in bytes. Calls `progress` with the
/// bytes written and the bytes in all. The file is written under a temporary name and renamed when
/// it is complete.
pub fn synthesize(options: &SynthOptions, progress: impl FnMut(u64, u64)) -> io::Result<u64> {
    let SynthOptions { shape, quant, seed, output } = options;
    let (metadata, tensors) = (metadata(shape, *quant), tensors(shape, *quant));
    write(&metadata, &tensors, *seed, output, progress)
}

/// Writes a file with random weights. See [`synthesize`].
pub(super) fn write(
    metadata: &[(String, Value)],
    tensors: &[TensorSpec],
    seed: u64,
    output: &Path,
    mut progress: impl FnMut(u64, u64),
) -> io::Result<u64> {
    let total: u64 = tensors.iter().map(|tensor| tensor.byte_len() as u64).sum();
    let partial = output.with_extension("partial");
    let file = BufWriter::with_capacity(1 << 20, File::create(&partial)?);
    let mut writer = Writer::begin(file, metadata, tensors)?;
    let mut source = Source::new(seed);
    let mut written = 0;
    for tensor in tensors {
        if tensor.shape.len() == 1 {
            writer.put(&source.vector(tensor))?;
        } else {
            let mut left = tensor.byte_len();
            while left > 0 {
                let dtype = tensor.dtype.candle();
                let dtype =
                    dtype.ok_or_else(|| io::Error::other("candle cannot quantize to it"))?;
                let piece = source.piece(dtype)?;
                let piece = &piece[..piece.len().min(left)];
                writer.put(piece)?;
                left -= piece.len();
            }
        }
        writer.align()?;
        written += tensor.byte_len() as u64;
        progress(written, total);
    }
    writer.finish()?.into_inner()?.sync_all()?;
    fs::rename(&partial, output)?;
    Ok(fs::metadata(output)?.len())
}

/// Returns every tensor of a model, with its format.
fn tensors(shape: &SynthShape, quant: SynthQuant) -> Vec<TensorSpec> {
    let SynthShape { layers, hidden, heads, kv_heads, head_dim, vocab, .. } = *shape;
    let mut tensors = Vec::new();
    let mut matrices =
        |name: String, experts: Option<usize>, rows: usize, columns: usize, role: Role| {
            let dtype = quant.dtype(role, columns).into();
            let shape = experts.into_iter().chain([rows, columns]).collect();
            tensors.push(TensorSpec { name: format!("{name}.weight"), shape, dtype });
        };
    let embedding = if shape.tied { Role::Head } else { Role::Plain };
    matrices("token_embd".to_owned(), None, vocab, hidden, embedding);
    if !shape.tied {
        matrices("output".to_owned(), None, vocab, hidden, Role::Head);
    }
    for layer in 0..layers {
        let name = |name: &str| format!("blk.{layer}.{name}");
        let sensitive = Role::Sensitive(layer, layers);
        matrices(name("attn_q"), None, heads * head_dim, hidden, Role::Plain);
        matrices(name("attn_k"), None, kv_heads * head_dim, hidden, Role::Plain);
        matrices(name("attn_v"), None, kv_heads * head_dim, hidden, sensitive);
        matrices(name("attn_output"), None, hidden, heads * head_dim, Role::Plain);
        let mut mlp = |experts: Option<usize>, suffix: &str, ffn: usize| {
            for (part, rows, columns, role) in [
                ("gate", ffn, hidden, Role::Plain),
                ("up", ffn, hidden, Role::Plain),
                ("down", hidden, ffn, sensitive),
            ] {
                matrices(name(&format!("ffn_{part}{suffix}")), experts, rows, columns, role);
            }
        };
        match shape.feed_forward {
            FeedForward::Dense { ffn } => mlp(None, "", ffn),
            FeedForward::Experts(Experts { count, ffn, shared_ffn, .. }) => {
                mlp(Some(count), "_exps", ffn);
                if let Some(ffn) = shared_ffn {
                    mlp(None, "_shexp", ffn);
                }
                matrices(name("ffn_gate_inp"), None, count, hidden, Role::Router);
            }
        }
    }
    let mut vector = |name: String, len: usize| {
        tensors.push(TensorSpec { name, shape: vec![len], dtype: GgmlDType::F32.into() });
    };
    vector("output_norm.weight".to_owned(), hidden);
    for layer in 0..layers {
        let name = |name: &str| format!("blk.{layer}.{name}");
        vector(name("attn_norm.weight"), hidden);
        vector(name("ffn_norm.weight"), hidden);
        if shape.architecture.head_norms {
            vector(name("attn_q_norm.weight"), head_dim);
            vector(name("attn_k_norm.weight"), head_dim);
        }
        if shape.architecture.attention_bias {
            vector(name("attn_q.bias"), heads * head_dim);
            vector(name("attn_k.bias"), kv_heads * head_dim);
            vector(name("attn_v.bias"), kv_heads * head_dim);
        }
        if let FeedForward::Experts(Experts { shared_ffn: Some(_), .. }) = shape.feed_forward {
            vector(name("ffn_gate_inp_shexp.weight"), hidden);
        }
    }
    tensors
}

/// Generates random weights in any format.
struct Source {
    random: StdRng,
    /// One quantized tile per format.
    tiles: HashMap<GgmlDType, Vec<u8>>,
}

impl Source {
    fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), tiles: HashMap::new() }
    }

    /// Returns a piece of a matrix, from a random place of the format's tile.
    fn piece(&mut self, dtype: GgmlDType) -> io::Result<&[u8]> {
        if !self.tiles.contains_key(&dtype) {
            let tile = self.tile(dtype).map_err(io::Error::other)?;
            self.tiles.insert(dtype, tile);
        }
        let piece_len = PIECE / dtype.block_size() * dtype.type_size();
        let blocks = (TILE - PIECE) / dtype.block_size();
        let start = self.random.random_range(0..=blocks) * dtype.type_size();
        Ok(self.tiles.get(&dtype).map_or(&[], |tile| &tile[start..start + piece_len]))
    }

    fn tile(&mut self, dtype: GgmlDType) -> candle_core::Result<Vec<u8>> {
        // The sum of twelve uniform numbers is nearly normal; 0.02 is the deviation that Qwen
        // initializes with.
        let mut number = || (0..12).map(|_| self.random.random::<f32>() - 0.5).sum::<f32>() * 0.02;
        let numbers: Vec<f32> = (0..TILE).map(|_| number()).collect();
        let tile = Tensor::from_vec(numbers, (TILE / PIECE, PIECE), &Device::Cpu)?;
        Ok(QTensor::quantize(&tile, dtype)?.data()?.into_owned())
    }

    /// Returns random weights of a norm, around 1, or of a bias or gate, around 0.
    fn vector(&mut self, tensor: &TensorSpec) -> Vec<u8> {
        let norms = ["norm.weight", "ln1.weight", "ln2.weight", "post_ln.weight"];
        let norm = norms.iter().any(|norm| tensor.name.ends_with(norm));
        let middle = if norm { 1.0 } else { 0.0 };
        (0..tensor.shape[0])
            .flat_map(|_| (middle + self.random.random_range(-0.1f32..0.1)).to_le_bytes())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Engine, EngineOptions, ModelFile};

    #[test]
    fn every_shape_has_the_published_parameter_count() {
        // Parameters as published on the hub; the vocabulary's padding is the rest.
        for (name, billions) in [
            ("qwen3-0.6b", 0.596),
            ("qwen3-vl-2b", 1.72), // without its tower
            ("qwen3-1.7b", 1.72),
            ("qwen3-4b", 4.02),
            ("qwen3-8b", 8.19),
            ("qwen3-14b", 14.77),
            ("qwen2.5-0.5b", 0.494),
            ("qwen2.5-1.5b", 1.54),
            ("qwen2.5-3b", 3.09),
            ("qwen2.5-7b", 7.62),
            ("qwen2.5-14b", 14.77),
            ("qwen3-30b-a3b", 30.53),
            ("qwen1.5-moe-a2.7b", 14.32),
        ] {
            let tensors = tensors(&name.parse().unwrap(), SynthQuant::Q4KM);
            let count: usize = tensors.iter().map(|one| one.shape.iter().product::<usize>()).sum();
            let off = (count as f64 / 1e9 - billions).abs() / billions;
            assert!(off < 0.005, "{name}: {count}");
        }
        let error = "qwen9-1b".parse::<SynthShape>().unwrap_err().to_string();
        assert!(error.contains("qwen9-1b") && error.contains("qwen3-0.6b"), "{error}");
        assert!("q9".parse::<SynthQuant>().unwrap_err().to_string().contains("q4_k_m"));
    }

    #[test]
    fn synthetic_models_load_and_are_reproducible_by_seed() {
        let folder = tempfile::tempdir().unwrap();
        let kinds = [
            (SynthShape::small(), SynthQuant::Q4KM),
            (SynthShape::small(), SynthQuant::Q8_0),
            (SynthShape::small_experts(), SynthQuant::Q4KM),
        ];
        for (small, quant) in kinds {
            let path = |name: &str| folder.path().join(name);
            let options = |name| SynthOptions { shape: small, quant, seed: 1, output: path(name) };
            let size = synthesize(&options("a.gguf"), |_, _| ()).unwrap();
            synthesize(&options("b.gguf"), |_, _| ()).unwrap();
            let (a, b) = (fs::read(path("a.gguf")).unwrap(), fs::read(path("b.gguf")).unwrap());
            assert!(a == b && a.len() as u64 == size);
            let engine =
                Engine::start(&ModelFile::Path(path("a.gguf")), &EngineOptions::default()).unwrap();
            assert_eq!(engine.info().context_length, small.context_length);
            let tokens = engine.tokenizer().encode("<|im_start|>Grüße<|im_end|>").unwrap();
            assert_eq!(tokens[0], 151_644);
            assert_eq!(engine.tokenizer().decode(&tokens), "Grüße");
        }
    }
}
