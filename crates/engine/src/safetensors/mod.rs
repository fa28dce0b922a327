//! Folders with safetensors, as on the hub: `config.json`, the tokenizer's files, and the weights in
//! one file or several. Weights are quantized when they are loaded.
//!
//! - `shards`: opens the files with the weights and checks their headers and the index
//! - `names`: maps the decoder's tensor names to those in the files
//! - `config`, `other_keys`, `tokenizer`: translate the JSON files to GGUF's metadata, which is then checked
//! - `quantize`: converts f32, f16 and bf16 to the formats of the matrix products
//! - `json`: reads a file of limited size, key by key
//! - `file`: a single file of tensors, such as an adapter
//!
//! While a matrix is loaded, its bytes in the file, its bytes in the new format and a few rows of f32 per
//! thread are in memory beside the loaded weights. The embedding is not loaded: a step needs only a few
//! of its rows, and reads them from the file.

mod config;
mod file;
mod json;
mod names;
mod other_keys;
mod quantize;
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
pub(crate) use shards::{INDEX, SINGLE_FILE, files_of_index};
pub(crate) use tokenizer::FILES as TOKENIZER_FILES;

use crate::error::LoadError;
use crate::files::Bytes;
use crate::gguf::Metadata;
use crate::quantization::Quantization;
use crate::stored_tensor::{StoredTensor, layer_of};
use quantize::Target;
use shards::{Entry, Float, Shards};

/// The file with the model's configuration.
pub(crate) const CONFIG: &str = "config.json";

/// A transformers model in a folder, open for reading. Cheap to clone.
#[derive(Clone)]
pub struct SafetensorsModel(Arc<Inner>);

struct Inner {
    metadata: Metadata,
    shards: Shards,
    quantization: Quantization,
    /// The number of the embedding's rows by the config.
    vocab: usize,
    /// Whether the embedding is also the head.
    tied: bool,
}

/// A loaded matrix.
pub(crate) enum Matrix {
    /// In a quantized format, row by row.
    Quantized(GgmlDType, Vec<u8>),
    /// `[outputs, inputs]` as f32.
    Exact(Vec<f32>),
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
        let config = Object::read(folder, CONFIG).map_err(damaged)?.ok_or_else(|| {
            damaged(SafetensorsError::MissingFile {
                name: CONFIG.to_owned(),
                needed:
                    "which says what kind of model it is; get it from where the weights come from"
                        .to_owned(),
            })
        })?;
        let facts = config::read(folder, &config, &mut metadata)?;
        let shards = Shards::open(folder).map_err(damaged)?;
        tokenizer::read(folder, &config, facts.vocab, &mut metadata)?;
        let tied = facts.tied.unwrap_or_else(|| !shards.tensors.contains_key(names::HEAD));
        let model =
            Self(Arc::new(Inner { metadata, shards, quantization, vocab: facts.vocab, tied }));
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
        let config = Object::read(folder, CONFIG).map_err(|problem| damaged(&label, problem))?;
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
        self.0.shards.tensors.get(names::EMBEDDING).map_or(0, |entry| entry.len)
    }

    /// Returns all tensors of the decoder, in no particular order. An embedding that is not the head takes no memory.
    pub(crate) fn stored(&self) -> impl Iterator<Item = StoredTensor> {
        let tensors = self.0.shards.tensors.iter();
        tensors.filter(|(name, _)| names::is_known(name)).filter_map(|(name, entry)| {
            let is_matrix = entry.shape.len() > 1;
            let weights = entry.shape.iter().product();
            let target = match self.target(name, entry) {
                Some(target) => target,
                None if is_matrix => Target { dtype: GgmlDType::F32, fell_back: false },
                None => return None,
            };
            let in_file = name == names::EMBEDDING && !self.0.tied;
            let bytes = if in_file { 0 } else { target.bytes(weights) };
            (name != names::HEAD || !self.0.tied).then_some(StoredTensor {
                layer: layer_of(name, names::LAYERS),
                dtype: target.dtype,
                is_matrix,
                weights,
                bytes,
            })
        })
    }

    /// Returns the target format of a tensor; `None` if it is not a matrix.
    fn target(&self, name: &str, entry: &Entry) -> Option<Target> {
        match entry.shape.as_slice() {
            [_] => Some(Target { dtype: GgmlDType::F32, fell_back: false }),
            [_, _] if names::stays_unquantized(name) => {
                Some(Target { dtype: GgmlDType::F32, fell_back: false })
            }
            [.., inputs] => {
                let is_head = name == names::HEAD || name == names::EMBEDDING;
                Some(Target::new(self.0.quantization, is_head, *inputs))
            }
            [] => None,
        }
    }

    fn log_quantization_fallbacks(&self) {
        let tensors = self.0.shards.tensors.iter();
        let matrices = tensors.filter(|(name, entry)| {
            names::is_known(name) && entry.shape.len() > 1 && *name != names::EMBEDDING
                || *name == names::EMBEDDING && self.0.tied
        });
        let (mut all, mut fallen): (usize, Vec<(usize, GgmlDType)>) = (0, Vec::new());
        for (name, entry) in matrices {
            all += 1;
            let Some(target) = self.target(name, entry).filter(|target| target.fell_back) else {
                continue;
            };
            fallen.push((entry.shape[entry.shape.len() - 1], target.dtype));
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

    /// Finds a tensor by the decoder's name: its name in the files, and its location.
    fn find(&self, name: &str) -> Option<(String, &Entry)> {
        let theirs = names::transformers_name(name)?;
        let entry = self.0.shards.tensors.get(&theirs)?;
        Some((theirs, entry))
    }

    /// Finds a tensor by the decoder's name, and checks its shape and that its format is supported.
    fn require(&self, name: &str, shape: &[usize]) -> Result<(String, &Entry, Float), LoadError> {
        let Some((tensor, entry)) = self.find(name) else {
            let tensor = names::transformers_name(name).unwrap_or_else(|| name.to_owned());
            let hint = match tensor == names::HEAD {
                true => {
                    ", though config.json says that the embedding is not the head \
                         (tie_word_embeddings is false)"
                }
                false => "",
            };
            return Err(self.error(SafetensorsError::MissingTensor { tensor, hint }));
        };
        if entry.shape != shape {
            return Err(self.error(SafetensorsError::WrongShape {
                tensor,
                found: entry.shape.clone(),
                expected: shape.to_vec(),
            }));
        }
        match entry.float() {
            Some(float) => Ok((tensor, entry, float)),
            None => Err(self.metadata().unsupported(format!(
                "tensor {tensor:?} has the type {}, which is not supported; supported are F32, F16 and \
                 BF16",
                entry.dtype
            ))),
        }
    }

    /// Checks a tensor by the decoder's name, without its numbers. Returns its name in the files.
    ///
    /// # Errors
    /// Returns an error if it is missing, or has another shape or type.
    pub(crate) fn check(&self, name: &str, shape: &[usize]) -> Result<String, LoadError> {
        self.require(name, shape).map(|(theirs, ..)| theirs)
    }

    /// Loads a matrix `[outputs, inputs]` by the decoder's name, in its target format.
    ///
    /// # Errors
    /// Returns an error if it is missing, has another shape or type, or has a number that is not finite.
    pub(crate) fn matrix(
        &self,
        name: &str,
        outputs: usize,
        inputs: usize,
    ) -> Result<Matrix, LoadError> {
        let (tensor, entry, float) = self.require(name, &[outputs, inputs])?;
        let bytes = self.data(entry)?;
        let is_head = tensor == names::HEAD || tensor == names::EMBEDDING;
        let target = Target::new(self.0.quantization, is_head, inputs);
        let (matrix, finite) =
            if target.dtype == GgmlDType::F32 {
                let (numbers, finite) = quantize::widen_all(float, &bytes);
                (Matrix::Exact(numbers), finite)
            } else {
                let (bytes, finite) = quantize::quantize(float, &bytes, inputs, target.dtype)
                    .map_err(|error| LoadError::Compute {
                        file: self.label().to_owned(),
                        problem: format!("tensor {tensor:?}: {error}"),
                    })?;
                (Matrix::Quantized(target.dtype, bytes), finite)
            };
        if finite { Ok(matrix) } else { Err(self.error(SafetensorsError::NotFinite { tensor })) }
    }

    /// Loads a vector as f32.
    ///
    /// # Errors
    /// Returns the errors of [`matrix`](Self::matrix).
    pub(crate) fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        self.exact(name, &[len])
    }

    /// Loads all numbers of a tensor as f32, row by row.
    ///
    /// # Errors
    /// Returns the errors of [`matrix`](Self::matrix).
    pub(crate) fn exact(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
        let (tensor, entry, float) = self.require(name, shape)?;
        let mut numbers = vec![0.0; shape.iter().product()];
        match quantize::widen(float, &self.data(entry)?, &mut numbers) {
            true => Ok(numbers),
            false => Err(self.error(SafetensorsError::NotFinite { tensor })),
        }
    }

    fn data(&self, entry: &Entry) -> Result<Bytes<'static>, LoadError> {
        self.0.shards.data(entry).map_err(|problem| self.error(problem))
    }

    /// Checks that no file with weights was written to since it was opened.
    ///
    /// # Errors
    /// Returns an error if a size or modification time has changed.
    pub(crate) fn check_unchanged(&self) -> Result<(), LoadError> {
        self.0.shards.check_unchanged().map_err(|problem| self.error(problem))
    }

    /// Returns the rows of a matrix `[rows, width]`, which are read from its file one by one.
    ///
    /// # Errors
    /// Returns the errors of [`matrix`](Self::matrix), except that the numbers are not checked.
    pub(crate) fn rows(&self, name: &str, rows: usize, width: usize) -> Result<Rows, LoadError> {
        let (_, entry, float) = self.require(name, &[rows, width])?;
        Ok(Rows { model: self.clone(), entry: entry.clone(), float })
    }
}

/// The rows of a matrix, read from their file one by one.
#[derive(Debug)]
pub(crate) struct Rows {
    model: SafetensorsModel,
    entry: Entry,
    float: Float,
}

impl Rows {
    /// Returns `[rows, width]`.
    pub(crate) fn shape(&self) -> (usize, usize) {
        (self.entry.shape[0], self.entry.shape[1])
    }

    /// Reads one row, `[width]`, through `buffer`; `index` must be in range.
    ///
    /// # Errors
    /// Returns an error if it can't be read.
    pub(crate) fn read(
        &self,
        index: usize,
        out: &mut [f32],
        buffer: &mut Vec<u8>,
    ) -> Result<(), SafetensorsError> {
        buffer.resize(out.len() * self.float.size(), 0);
        self.model.0.shards.read(&self.entry, index * buffer.len(), buffer)?;
        quantize::widen(self.float, buffer, out);
        Ok(())
    }

    /// Same as [`SafetensorsModel::check_unchanged`].
    pub(crate) fn check_unchanged(&self) -> Result<(), LoadError> {
        self.model.check_unchanged()
    }
}

/// Converts a problem to an error that names the folder.
pub(crate) fn damaged(label: &str, problem: SafetensorsError) -> LoadError {
    let file = label.to_owned();
    match problem {
        SafetensorsError::Unreadable { name, problem } => {
            let source = std::io::Error::other(problem);
            LoadError::Unreadable { path: Path::new(label).join(name), source }
        }
        unsupported if unsupported.is_unsupported() => {
            LoadError::Unsupported { file, problem: unsupported.to_string() }
        }
        damaged => LoadError::Damaged { file, problem: damaged.into() },
    }
}
