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
use super::tensors::tensors;
use super::{SynthQuant, SynthShape};
use crate::architecture::ModelConfig;
use crate::gguf::{Metadata, TensorSpec, Value, Writer};

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
    let Contents { metadata, tensors } = Contents::of(shape, *quant)?;
    write(&metadata, &tensors, *seed, output, progress)
}

/// The metadata of a model, and the tensors that a loader expects by them.
struct Contents {
    metadata: Vec<(String, Value)>,
    tensors: Vec<TensorSpec>,
}

impl Contents {
    fn of(shape: &SynthShape, quant: SynthQuant) -> io::Result<Self> {
        let metadata = metadata(shape, quant);
        let mut read = Metadata::new(shape.name.to_owned());
        for (key, value) in &metadata {
            read.insert(key, value.clone(), key);
        }
        let config = ModelConfig::from_metadata(&read, Some(shape.vocab));
        let config = config.map_err(io::Error::other)?;
        Ok(Self { tensors: tensors(&config, shape.tied, quant), metadata })
    }
}

/// Writes a model, and to `draft` one of its first `layers` layers, which finds the same tokens likeliest: the other layers
/// of the model change nothing, but take their time. For measurements of drafts. Returns the sizes in bytes.
///
/// # Errors
/// If the model has fewer layers, or a file cannot be written.
pub fn synthesize_with_draft(
    options: &SynthOptions,
    layers: usize,
    draft: &Path,
) -> io::Result<(u64, u64)> {
    let SynthOptions { shape, quant, seed, output } = options;
    if layers > shape.layers {
        let (name, most) = (shape.name, shape.layers);
        let problem = format!("a draft has at most the {most} layers of {name}, not {layers}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    let Contents { metadata: of_whole, tensors } = Contents::of(shape, *quant)?;
    let beyond = |tensor: &TensorSpec| {
        let layer = tensor.name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
        let (number, name) = layer?;
        (number.parse::<usize>().ok()? >= layers).then(|| name.to_owned())
    };
    let silenced = |tensor: &TensorSpec| match beyond(tensor).as_deref() {
        Some("attn_output.weight" | "ffn_down.weight" | "ffn_down_exps.weight") => Fill::Zeros,
        _ => Fill::Random,
    };
    let first = |tensor: &TensorSpec| match beyond(tensor) {
        Some(_) => Fill::Nothing,
        None => Fill::Random,
    };
    let whole = write_filled(&of_whole, &tensors, *seed, output, silenced, |_, _| ())?;
    let of_part = metadata(&SynthShape { layers, ..*shape }, *quant);
    let part = write_filled(&of_part, &tensors, *seed, draft, first, |_, _| ())?;
    Ok((whole, part))
}

/// The content of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fill {
    Random,
    Zeros,
    /// It is left out.
    Nothing,
}

/// Writes a file with random weights. See [`synthesize`].
pub(super) fn write(
    metadata: &[(String, Value)],
    tensors: &[TensorSpec],
    seed: u64,
    output: &Path,
    progress: impl FnMut(u64, u64),
) -> io::Result<u64> {
    write_filled(metadata, tensors, seed, output, |_| Fill::Random, progress)
}

/// Writes a file with tensors filled by `fill`. The random ones have the same content whatever the others are.
fn write_filled(
    metadata: &[(String, Value)],
    tensors: &[TensorSpec],
    seed: u64,
    output: &Path,
    fill: impl Fn(&TensorSpec) -> Fill,
    mut progress: impl FnMut(u64, u64),
) -> io::Result<u64> {
    let kept: Vec<TensorSpec> =
        tensors.iter().filter(|tensor| fill(tensor) != Fill::Nothing).cloned().collect();
    let total: u64 = kept.iter().map(|tensor| tensor.byte_len() as u64).sum();
    let partial = output.with_extension("partial");
    let file = BufWriter::with_capacity(1 << 20, File::create(&partial)?);
    let mut writer = Writer::begin(file, metadata, &kept)?;
    let mut source = Source::new(seed);
    let mut written = 0;
    for tensor in tensors {
        let fill = fill(tensor);
        if tensor.shape.len() == 1 {
            let vector = source.vector(tensor);
            if fill != Fill::Nothing {
                writer.put(&vector)?;
            }
        } else {
            let mut left = tensor.byte_len();
            while left > 0 {
                let dtype = tensor.dtype.candle();
                let dtype =
                    dtype.ok_or_else(|| io::Error::other("candle cannot quantize to it"))?;
                let piece = source.piece(dtype)?;
                let piece = &piece[..piece.len().min(left)];
                match fill {
                    Fill::Random => writer.put(piece)?,
                    // A block of zeros has the scale 0 in every format.
                    Fill::Zeros => writer.put(&vec![0; piece.len()])?,
                    Fill::Nothing => {}
                }
                left -= piece.len();
            }
        }
        if fill == Fill::Nothing {
            continue;
        }
        writer.align()?;
        written += tensor.byte_len() as u64;
        progress(written, total);
    }
    writer.finish()?.into_inner()?.sync_all()?;
    fs::rename(&partial, output)?;
    Ok(fs::metadata(output)?.len())
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

    /// Returns random weights of a norm, around 1, of a decay, around -1, or of a bias or gate, around 0.
    fn vector(&mut self, tensor: &TensorSpec) -> Vec<u8> {
        let norms = ["norm.weight", "ln1.weight", "ln2.weight", "post_ln.weight"];
        let is_one_of = |ends: &[&str]| ends.iter().any(|end| tensor.name.ends_with(end));
        let middle = if is_one_of(&norms) {
            1.0
        } else if is_one_of(&["ssm_a"]) {
            -1.0
        } else {
            0.0
        };
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
            // Without towers and layers that predict more tokens.
            ("qwen3.5-0.8b", 0.752),
            ("qwen3.5-4b", 4.206),
        ] {
            let shape = name.parse().unwrap();
            let Contents { tensors, .. } = Contents::of(&shape, SynthQuant::Q4KM).unwrap();
            let count: usize = tensors.iter().map(|one| one.shape.iter().product::<usize>()).sum();
            let off = (count as f64 / 1e9 - billions).abs() / billions;
            assert!(off < 0.005, "{name}: {count}");
        }
        let error = "qwen9-1b".parse::<SynthShape>().unwrap_err().to_string();
        assert!(error.contains("qwen9-1b") && error.contains("qwen3-0.6b"), "{error}");
        assert!("q9".parse::<SynthQuant>().unwrap_err().to_string().contains("q4_k_m"));
    }

    #[test]
    fn a_draft_with_more_layers_than_the_model_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (shape, output) = (SynthShape::small(), folder.path().join("a.gguf"));
        let options = SynthOptions { shape, quant: SynthQuant::Q8_0, seed: 1, output };
        let error = synthesize_with_draft(&options, 3, &folder.path().join("b.gguf")).unwrap_err();
        assert!(error.to_string().contains("the 2 layers of small, not 3"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is written");
    }

    #[test]
    fn synthetic_models_load_and_are_reproducible_by_seed() {
        let folder = tempfile::tempdir().unwrap();
        let kinds = [
            (SynthShape::small(), SynthQuant::Q4KM),
            (SynthShape::small(), SynthQuant::Q8_0),
            (SynthShape::small_experts(), SynthQuant::Q4KM),
            (SynthShape::small_hybrid(), SynthQuant::Q4KM),
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
