//! A model's weights and what belongs to them, whatever the format of its files.

use candle_core::quantized::GgmlDType;

use crate::LoadError;
use crate::gguf::{GgufFile, Metadata};
use crate::model::{ModelConfig, Part};
use crate::safetensors::SafetensorsModel;
use crate::text::{ChatTemplate, Tokenizer};

/// A model's weights and what belongs to them, open for reading. Cheap to clone.
///
/// Tensors have GGUF's names everywhere, and so have the keys of what is said beside them.
#[derive(Debug, Clone)]
pub enum Checkpoint {
    /// One file; its weights are used as they are.
    Gguf(GgufFile),
    /// A folder; its weights are quantized when they are loaded.
    Safetensors(SafetensorsModel),
}

impl From<&GgufFile> for Checkpoint {
    fn from(file: &GgufFile) -> Self {
        Self::Gguf(file.clone())
    }
}

impl From<&Checkpoint> for Checkpoint {
    fn from(checkpoint: &Checkpoint) -> Self {
        checkpoint.clone()
    }
}

impl Checkpoint {
    /// How messages call it.
    pub fn label(&self) -> &str {
        self.metadata().label()
    }

    /// What its files say beside the weights.
    pub fn metadata(&self) -> &Metadata {
        match self {
            Self::Gguf(file) => file.all_metadata(),
            Self::Safetensors(model) => model.metadata(),
        }
    }

    /// What kind of model it is.
    ///
    /// # Errors
    /// When the files do not say, or say what cannot be or cannot be computed.
    pub fn config(&self) -> Result<ModelConfig, LoadError> {
        match self {
            Self::Gguf(file) => ModelConfig::from_gguf(file),
            Self::Safetensors(model) => {
                ModelConfig::from_metadata(model.metadata(), Some(model.vocab()))
            }
        }
    }

    /// Its tokenizer.
    ///
    /// # Errors
    /// When the files hold none, or one that cannot be.
    pub fn tokenizer(&self) -> Result<Tokenizer, LoadError> {
        Tokenizer::from_metadata(self.metadata())
    }

    /// Its chat template; ChatML, with a warning in the log, if it has none.
    ///
    /// # Errors
    /// When what it has is no template.
    pub fn chat_template(&self, tokenizer: &Tokenizer) -> Result<ChatTemplate, LoadError> {
        ChatTemplate::from_metadata(self.metadata(), tokenizer)
    }

    /// The names of all its tensors, as its files have them, in no order.
    pub(crate) fn tensor_names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match self {
            Self::Gguf(file) => Box::new(file.tensors().map(|(name, _)| name)),
            Self::Safetensors(model) => Box::new(model.tensor_names()),
        }
    }

    /// Whether the embedding is the head too, although the files may have a head.
    pub(crate) fn ties_head(&self) -> bool {
        match self {
            Self::Gguf(_) => false,
            Self::Safetensors(model) => !model.has_own_head(),
        }
    }

    /// Checks that nobody has written to the files since they were opened.
    ///
    /// # Errors
    /// When a size or a time of modification has changed.
    pub fn check_unchanged(&self) -> Result<(), LoadError> {
        match self {
            Self::Gguf(file) => file.check_unchanged(),
            Self::Safetensors(model) => model.check_unchanged(),
        }
    }

    /// How many weights it has.
    pub fn parameters(&self) -> u64 {
        self.stored().iter().map(|tensor| tensor.weights as u64).sum()
    }

    /// Bytes that its weights take in memory. Of the embedding only what is packed as the head; a model
    /// that embeds has none.
    pub fn weight_bytes(&self) -> usize {
        let all: usize = self.stored().iter().map(|tensor| tensor.bytes).sum();
        let Self::Gguf(file) = self else { return all };
        let head = file.tensor("output.weight").map_or(0, |info| info.byte_len);
        let embeds = self.config().is_ok_and(|config| config.pooling.is_some());
        match (embeds, head) {
            (true, head) => all.saturating_sub(self.embedding_bytes() + head),
            (false, 0) => all,
            (false, _) => all.saturating_sub(self.embedding_bytes()),
        }
    }

    /// The same of each of so many layers, and of what stands behind them: the last norm and the head.
    pub(crate) fn layer_bytes(&self, layers: usize) -> (Vec<usize>, usize) {
        let mut of_layers = vec![0; layers];
        for tensor in self.stored() {
            if let Some(bytes) = tensor.layer.and_then(|layer| of_layers.get_mut(layer)) {
                *bytes += tensor.bytes;
            }
        }
        let end = self.weight_bytes().saturating_sub(of_layers.iter().sum());
        (of_layers, end)
    }

    /// The same of a part of the layers, and of what stands behind them if it is the last.
    pub(crate) fn part_bytes(&self, part: &Part) -> usize {
        let (layers, end) = self.layer_bytes(part.of());
        let own: usize = layers[part.layers()].iter().sum();
        own + if part.is_last() { end } else { 0 }
    }

    /// Bytes of the embedding in its file, where its rows are read.
    pub fn embedding_bytes(&self) -> usize {
        match self {
            Self::Gguf(file) => file.tensor("token_embd.weight").map_or(0, |info| info.byte_len),
            Self::Safetensors(model) => model.embedding_bytes(),
        }
    }

    /// The formats of its matrices, as they are held in memory.
    pub(crate) fn matrix_formats(&self) -> impl Iterator<Item = GgmlDType> {
        self.stored().into_iter().filter(|tensor| tensor.is_matrix).map(|tensor| tensor.dtype)
    }

    /// All tensors.
    pub(crate) fn stored(&self) -> Vec<Stored> {
        match self {
            Self::Gguf(file) => {
                let tensors = file.tensors().map(|(name, info)| Stored {
                    layer: layer_of(name, "blk."),
                    dtype: info.dtype,
                    is_matrix: info.shape.len() > 1,
                    weights: info.shape.iter().product(),
                    bytes: info.byte_len,
                });
                tensors.collect()
            }
            Self::Safetensors(model) => model.stored().collect(),
        }
    }
}

/// What is known of a tensor before it is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    /// The layer that it belongs to, if it is one's.
    pub(crate) layer: Option<usize>,
    /// The format it is held in.
    pub(crate) dtype: GgmlDType,
    /// Whether it has rows.
    pub(crate) is_matrix: bool,
    /// How many numbers it has.
    pub(crate) weights: usize,
    /// Bytes that it takes.
    pub(crate) bytes: usize,
}

/// The number that stands behind `prefix` in a tensor's name.
pub(crate) fn layer_of(name: &str, prefix: &str) -> Option<usize> {
    name.strip_prefix(prefix)?.split_once('.')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_counted_where_they_are_held() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        // (the file, whether the embedding is the head too)
        for (name, tied) in [
            ("qwen3/qwen3-f32", true),
            ("qwen2.5/qwen2.5-f32", false),
            ("qwen2moe/qwen2moe-f32", false),
            ("qwen3moe/qwen3moe-q8_0", true),
            // Its head is not loaded.
            ("embedding/embedding", false),
        ] {
            let file = GgufFile::open(folder.join(format!("{name}.gguf"))).unwrap();
            let all: usize = file.tensors().map(|(_, info)| info.byte_len).sum();
            let checkpoint = Checkpoint::from(&file);
            let embedding = file.tensor("token_embd.weight").unwrap().byte_len;
            assert_eq!(checkpoint.embedding_bytes(), embedding);
            let expected = if tied { all } else { all - embedding };
            assert_eq!(checkpoint.weight_bytes(), expected, "{name}");
            // Every byte is in one of its parts.
            let layers = checkpoint.config().unwrap().layers;
            for cut in 1..layers {
                let parts = Part::of_sizes(&[cut, layers - cut]);
                let bytes: Vec<usize> =
                    parts.iter().map(|part| checkpoint.part_bytes(part)).collect();
                assert!(bytes.iter().all(|part| *part > 0), "{name}");
                assert_eq!(bytes.iter().sum::<usize>(), expected, "{name}");
            }
            let whole = Part::whole(&checkpoint.config().unwrap());
            assert_eq!(checkpoint.part_bytes(&whole), expected, "{name}");
        }
    }
}
