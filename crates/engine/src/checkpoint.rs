//! Access to a model's files, independent of their format.

use crate::LoadError;
use crate::architecture::{ModelConfig, Part};
use crate::gguf::{GgufFile, Metadata};
use crate::safetensors::SafetensorsModel;
use crate::stored_tensor::{StoredTensor, layer_of};
use crate::text::{ChatTemplate, Tokenizer};
use crate::weight_format::WeightFormat;

/// A model's weights and metadata, open for reading. Cheap to clone.
///
/// Tensors and metadata keys have GGUF's names in every format.
#[derive(Debug, Clone)]
pub enum Checkpoint {
    /// A GGUF file. Its weights are used as stored.
    Gguf(GgufFile),
    /// A folder of safetensors files. Its weights are quantized when loaded.
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
    /// Returns the model's name for messages.
    pub fn label(&self) -> &str {
        self.metadata().label()
    }

    /// Returns the metadata, under GGUF's keys.
    pub fn metadata(&self) -> &Metadata {
        match self {
            Self::Gguf(file) => file.all_metadata(),
            Self::Safetensors(model) => model.metadata(),
        }
    }

    /// Reads the architecture and the sizes of the model.
    ///
    /// # Errors
    /// If a value is missing or out of range, or the architecture is not supported.
    pub fn config(&self) -> Result<ModelConfig, LoadError> {
        match self {
            Self::Gguf(file) => ModelConfig::from_gguf(file),
            Self::Safetensors(model) => {
                ModelConfig::from_metadata(model.metadata(), Some(model.vocab()))
            }
        }
    }

    /// Builds the tokenizer.
    ///
    /// # Errors
    /// If the files have none, or it is damaged or not supported.
    pub fn tokenizer(&self) -> Result<Tokenizer, LoadError> {
        Tokenizer::from_metadata(self.metadata())
    }

    /// Builds the chat template. If the model has none, logs a warning and returns the ChatML template.
    ///
    /// # Errors
    /// If the model's template is not valid Jinja.
    pub fn chat_template(&self, tokenizer: &Tokenizer) -> Result<ChatTemplate, LoadError> {
        ChatTemplate::from_metadata(self.metadata(), tokenizer)
    }

    /// Returns the names of all tensors as in the files, unordered.
    pub(crate) fn tensor_names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match self {
            Self::Gguf(file) => Box::new(file.tensors().map(|(name, _)| name)),
            Self::Safetensors(model) => Box::new(model.tensor_names()),
        }
    }

    /// Whether the embedding is the head too, although the files may have a head.
    pub(crate) fn has_tied_head(&self) -> bool {
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

    /// Returns the number of weights.
    pub fn parameters(&self) -> u64 {
        self.stored().iter().map(|tensor| tensor.weights as u64).sum()
    }

    /// Returns the bytes that the weights take in memory. The embedding counts only if it is the head too,
    /// since its rows are read from the file. An embedding model has no head.
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

    /// Returns the bytes of each of the first `layers` layers, and the bytes of what follows the layers: the
    /// last norm and the head.
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

    /// Returns the bytes of a part's layers. The last part includes the last norm and the head.
    pub(crate) fn part_bytes(&self, part: &Part) -> usize {
        let (layers, end) = self.layer_bytes(part.of());
        let own: usize = layers[part.layers()].iter().sum();
        own + if part.is_last() { end } else { 0 }
    }

    /// Returns the bytes of the embedding in its file, from which its rows are read.
    pub fn embedding_bytes(&self) -> usize {
        match self {
            Self::Gguf(file) => file.tensor("token_embd.weight").map_or(0, |info| info.byte_len),
            Self::Safetensors(model) => model.embedding_bytes(),
        }
    }

    /// Returns the format of each matrix in memory.
    pub(crate) fn matrix_formats(&self) -> impl Iterator<Item = WeightFormat> {
        self.stored().into_iter().filter(|tensor| tensor.is_matrix).map(|tensor| tensor.dtype)
    }

    /// Describes all tensors.
    pub(crate) fn stored(&self) -> Vec<StoredTensor> {
        match self {
            Self::Gguf(file) => {
                // Layers after the last one predict further tokens and are not loaded.
                let layers = self.config().map_or(usize::MAX, |config| config.layers);
                let tensors = file.tensors().map(|(name, info)| (layer_of(name, "blk."), info));
                let used = tensors.filter(|(layer, _)| layer.is_none_or(|layer| layer < layers));
                let tensors = used.map(|(layer, info)| StoredTensor {
                    layer,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weight_bytes_count_the_embedding_only_as_a_tied_head() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        // (file, whether the embedding is the head too)
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
            // Each byte belongs to exactly one part.
            let layers = checkpoint.config().unwrap().layers;
            for cut in 1..layers {
                let parts = Part::from_sizes(&[cut, layers - cut]);
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
