//! Folders with safetensors, as on the hub: `config.json`, the tokenizer's files, and the weights in
//! one file or several. Weights are quantized when they are loaded.
//!
//! - `shards`: opens the files with the weights and checks their headers and the index
//! - `names`: maps the decoder's tensor names to those in the files
//! - `config`, `other_keys`, `tokenizer`: translate the JSON files to GGUF's metadata, which is then checked;
//!   `recurrent`: of hybrid models; `seeing`: finds the text model's part in the config of a model that sees
//! - `load`: loads tensors; `packed`: those of experts that are stored together; `fused`: projections of recurrent
//!   layers that are
//! - `prequantized`: weights that are quantized in the files: FP8, GPTQ and AWQ
//! - `quantize`: converts f32, f16 and bf16 to the formats of the matrix products
//! - `json`: reads a file of limited size, key by key
//! - `file`: a single file of tensors, such as an adapter
//!
//! While a matrix is loaded, its bytes in the file, its bytes in the new format and a few rows of f32 per
//! thread are in memory beside the loaded weights. The embedding is not loaded: a step needs only a few
//! of its rows, and reads them from the file.

mod config;
mod file;
mod fused;
mod json;
mod load;
mod names;
mod other_keys;
mod packed;
mod prequantized;
mod quantize;
mod recurrent;
mod seeing;
mod shards;
mod tokenizer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use candle_core::quantized::GgmlDType;

pub use crate::error::SafetensorsError;
pub(crate) use file::TensorFile;
pub(crate) use json::Object;
pub(crate) use load::{Matrix, Rows};
pub(crate) use names::TOWERS;
pub(crate) use shards::{INDEX, SINGLE_FILE, files_of_index};
pub(crate) use tokenizer::FILES as TOKENIZER_FILES;

use crate::error::LoadError;
use crate::gguf::Metadata;
use crate::quantization::Quantization;
use crate::stored_tensor::{StoredTensor, layer_of};
use config::Facts;
use fused::HeadSizes;
use names::Names;
use prequantized::Prequantized;
use quantize::Target;
use shards::{Entry, Shards};

/// The file with the model's configuration.
pub(crate) const CONFIG: &str = "config.json";

/// The files with the normalization and the sizes of images; the second is that of newer versions of transformers.
pub(crate) const PREPROCESSOR: &str = "preprocessor_config.json";
pub(crate) const PROCESSOR: &str = "processor_config.json";

/// A transformers model in a folder, open for reading. Cheap to clone.
#[derive(Clone)]
pub struct SafetensorsModel(Arc<Inner>);

struct Inner {
    metadata: Metadata,
    shards: Shards,
    /// The matrices that are quantized in the files.
    prequantized: Prequantized,
    /// What the decoder's tensors are called in the files.
    names: Names,
    quantization: Quantization,
    /// The number of the embedding's rows by the config.
    vocab: usize,
    /// The number of experts of a layer by the config.
    experts: usize,
    /// The heads of recurrent layers by the config, if there are such layers.
    heads: Option<HeadSizes>,
    /// Whether the embedding is also the head.
    tied: bool,
}

impl std::fmt::Debug for SafetensorsModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SafetensorsModel")
            .field("label", &self.label())
            .field("files", &self.0.shards.len())
            .field("tensors", &self.0.shards.tensors.len())
            .field("quantization", &self.0.quantization)
            .finish()
    }
}

impl SafetensorsModel {
    /// Opens the files of a folder, and reads and checks the JSON files. The weights are read when they are
    /// loaded.
    ///
    /// # Errors
    /// Returns an error if a file is missing, damaged or unreadable, or the model is not supported.
    pub fn open(folder: impl AsRef<Path>, quantization: Quantization) -> Result<Self, LoadError> {
        let folder = folder.as_ref();
        let label = folder.display().to_string();
        let damaged = |problem| self::damaged(&label, problem);
        let mut metadata = Metadata::new(label.clone());
        let config = seeing::text_config(folder).map_err(damaged)?.ok_or_else(|| {
            damaged(SafetensorsError::MissingFile {
                name: CONFIG.to_owned(),
                needed:
                    "which says what kind of model it is; get it from where the weights come from"
                        .to_owned(),
            })
        })?;
        let facts = config::read(folder, &config, &mut metadata)?;
        let mut shards = Shards::open(folder).map_err(damaged)?;
        let prequantized = match facts.prequantized {
            Some(method) => Prequantized::take(method, &mut shards).map_err(damaged)?,
            None => Prequantized::default(),
        };
        if facts.prequantized.is_some() && prequantized.is_empty() {
            return Err(metadata.unsupported(format!(
                "quantization_config of {CONFIG} says that its weights are quantized, but none is in the files; if \
                 they are not quantized, take the key out"
            )));
        }
        tokenizer::read(folder, &config, &facts, &mut metadata)?;
        let names = Names::of(|name| shards.tensors.contains_key(name));
        let tied = facts.tied.unwrap_or_else(|| !shards.tensors.contains_key(names.head));
        let Facts { vocab, experts, heads, .. } = facts;
        let inner = Inner {
            metadata,
            shards,
            prequantized,
            names,
            quantization,
            vocab,
            experts,
            heads,
            tied,
        };
        let model = Self(Arc::new(inner));
        model.log_quantization_fallbacks();
        Ok(model)
    }

    /// Checks the config of a folder whose weights may not exist yet.
    ///
    /// # Errors
    /// Returns an error if it is missing or damaged, or the model is not supported.
    pub(crate) fn check_config(folder: &Path) -> Result<(), LoadError> {
        let label = folder.display().to_string();
        let mut metadata = Metadata::new(label.clone());
        let config = seeing::text_config(folder).map_err(|problem| damaged(&label, problem))?;
        config.map_or(Ok(()), |config| config::read(folder, &config, &mut metadata).map(drop))
    }

    /// Returns the model's name in messages: its folder.
    pub fn label(&self) -> &str {
        self.0.metadata.label()
    }

    /// Returns the metadata of its JSON files, by GGUF's keys.
    pub(crate) fn metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    /// Returns the number of the embedding's rows by the config.
    pub(crate) fn vocab(&self) -> usize {
        self.0.vocab
    }

    /// Returns whether the head has its own weights.
    pub(crate) fn has_own_head(&self) -> bool {
        !self.0.tied
    }

    /// Returns the names of all tensors in the files.
    pub(crate) fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.0.shards.tensors.keys().map(String::as_str)
    }

    /// Returns the bytes of the embedding in its file.
    pub(crate) fn embedding_bytes(&self) -> usize {
        self.0.shards.tensors.get(&self.0.names.embedding()).map_or(0, |entry| entry.len)
    }

    /// Returns all tensors of the decoder, in no particular order. An embedding that is not the head takes no memory.
    pub(crate) fn stored(&self) -> impl Iterator<Item = StoredTensor> {
        let Inner { names, tied, .. } = *self.0;
        let (embedding, layers) = (names.embedding(), names.layers());
        let tensors = self.0.shards.tensors.iter();
        tensors.filter(move |(name, _)| names.is_known(name)).filter_map(move |(name, entry)| {
            let is_matrix = entry.shape.len() > 1;
            let weights = entry.shape.iter().product();
            let target = match self.target(name, entry) {
                Some(target) => target,
                None if is_matrix => Target { dtype: GgmlDType::F32, fell_back: false },
                None => return None,
            };
            let in_file = *name == embedding && !tied;
            let bytes = if in_file { 0 } else { target.bytes(weights) };
            (name != names.head || !tied).then_some(StoredTensor {
                layer: layer_of(name, &layers),
                dtype: target.dtype.into(),
                is_matrix,
                weights,
                bytes,
            })
        })
    }

    /// Returns the target format of a tensor; `None` if it is not a matrix.
    fn target(&self, name: &str, entry: &Entry) -> Option<Target> {
        if entry.shape.len() == 1 || self.0.names.stays_unquantized(name) {
            return Some(Target { dtype: GgmlDType::F32, fell_back: false });
        }
        let inputs = self.inputs(name, entry)?;
        Some(Target::new(self.0.quantization, self.is_head(name), inputs))
    }

    /// Returns the length of the rows of a tensor; `None` if it is a single number.
    fn inputs(&self, name: &str, entry: &Entry) -> Option<usize> {
        match self.0.names.is_packed(name) {
            true => Some(self.packed_inputs(name, entry)),
            false => entry.shape.last().copied(),
        }
    }

    /// Returns whether a tensor is the head, or the embedding, which may be the head.
    fn is_head(&self, name: &str) -> bool {
        name == self.0.names.head || name == self.0.names.embedding()
    }

    fn log_quantization_fallbacks(&self) {
        let embedding = self.0.names.embedding();
        let matrices = self.0.shards.tensors.iter().filter(|(name, entry)| {
            let is_computed = **name != embedding || self.0.tied;
            self.0.names.is_known(name) && entry.shape.len() > 1 && is_computed
        });
        let (mut all, mut fallen): (usize, Vec<(usize, GgmlDType)>) = (0, Vec::new());
        for (name, entry) in matrices {
            all += 1;
            let Some(target) = self.target(name, entry).filter(|target| target.fell_back) else {
                continue;
            };
            fallen.push((self.inputs(name, entry).unwrap_or(0), target.dtype));
        }
        let count = fallen.len();
        fallen.sort_by_key(|(inputs, _)| *inputs);
        fallen.dedup();
        if count > 0 {
            let kinds: Vec<String> = fallen
                .iter()
                .map(|(inputs, dtype)| {
                    format!("rows of {inputs} in {}", crate::gguf::tensor_type::name_of(*dtype))
                })
                .collect();
            tracing::warn!(
                "{}: {count} of {all} matrices have rows that do not divide into the blocks of {}, \
                 and are held more precisely: {}",
                self.label(),
                self.0.quantization,
                kinds.join(", ")
            );
        }
    }

    /// Converts a problem to an error that names the folder.
    pub(crate) fn error(&self, problem: SafetensorsError) -> LoadError {
        damaged(self.label(), problem)
    }

    /// Checks that no file with weights was written to since it was opened.
    ///
    /// # Errors
    /// Returns an error if a size or modification time has changed.
    pub(crate) fn check_unchanged(&self) -> Result<(), LoadError> {
        self.0.shards.check_unchanged().map_err(|problem| self.error(problem))
    }
}

/// Converts a problem to an error that names the folder.
pub(crate) fn damaged(label: &str, problem: SafetensorsError) -> LoadError {
    let file = label.to_owned();
    match problem {
        SafetensorsError::Unreadable { name, problem } => {
            let error = std::io::Error::other(problem);
            LoadError::Unreadable { path: Path::new(label).join(name), error }
        }
        unsupported if unsupported.is_unsupported() => {
            LoadError::Unsupported { file, problem: unsupported.to_string() }
        }
        damaged => LoadError::Damaged { file, problem: damaged.into() },
    }
}
