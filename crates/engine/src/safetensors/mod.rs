//! Folders of safetensors, as the hub has them: `config.json`, the tokenizer's files, and the weights in
//! one file or several. Weights are quantized when they are loaded.
//!
//! - `shards`: opens the files with the weights and checks their headers and the index
//! - `names`: what the decoder's tensors are called there
//! - `config`, `other_keys`, `tokenizer`: the JSON files, translated to GGUF's metadata and checked like those
//! - `quantize`: from f32, f16 and bf16 to the formats that multiply
//! - `json`: reads a file of bounded size, key by key
//! - `file`: one file of tensors by itself, such as an adapter
//!
//! Of a matrix that is loaded, its bytes in the file, its bytes in the new format and a few rows of f32 per
//! thread are in memory beside what is loaded already. The embedding is not loaded at all: a step wants few
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
pub(crate) use shards::{INDEX, SINGLE, files_of_index};
pub(crate) use tokenizer::FILES as TOKENIZER_FILES;

use crate::error::LoadError;
use crate::files::Bytes;
use crate::gguf::Metadata;
use crate::quantization::Quantization;
use crate::stored_tensor::{StoredTensor, layer_of};
use quantize::Target;
use shards::{Entry, Float, Shards};

/// The file that says what kind of model it is.
pub(crate) const CONFIG: &str = "config.json";

/// A model of transformers in a folder, open for reading. Cheap to clone.
#[derive(Clone)]
pub struct SafetensorsModel(Arc<Inner>);

struct Inner {
    metadata: Metadata,
    shards: Shards,
    quantization: Quantization,
    /// Tokens that the embedding has rows for, as the config says.
    vocab: usize,
    /// Whether the embedding is the head too.
    tied: bool,
}

/// A matrix as it was loaded.
pub(crate) enum Matrix {
    /// In a quantized format, row after row.
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
    /// Opens the files of a folder, reads what stands beside them and checks it. The weights are read
    /// when they are loaded.
    ///
    /// # Errors
    /// When a file is missing, damaged or unreadable, or holds a model that cannot be computed.
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
        model.say_what_falls_back();
        Ok(model)
    }

    /// Checks the config of a folder whose weights may not be there yet.
    ///
    /// # Errors
    /// When it is missing, damaged, or that of a model that cannot be computed.
    pub(crate) fn check_config(folder: &Path) -> Result<(), LoadError> {
        let label = folder.display().to_string();
        let mut metadata = Metadata::new(label.clone());
        let config = Object::read(folder, CONFIG).map_err(|problem| damaged(&label, problem))?;
        config.map_or(Ok(()), |config| config::read(folder, &config, &mut metadata).map(drop))
    }

    /// How messages call it: its folder.
    pub fn label(&self) -> &str {
        self.0.metadata.label()
    }

    /// What its JSON files say, by GGUF's keys.
    pub(crate) fn metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    /// Tokens that the embedding has rows for, as the config says.
    pub(crate) fn vocab(&self) -> usize {
        self.0.vocab
    }

    /// Whether the head has weights of its own.
    pub(crate) fn has_own_head(&self) -> bool {
        !self.0.tied
    }

    /// The names of all tensors, as the files have them.
    pub(crate) fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.0.shards.tensors.keys().map(String::as_str)
    }

    /// Bytes of the embedding in its file.
    pub(crate) fn embedding_bytes(&self) -> usize {
        self.0.shards.tensors.get(names::EMBEDDING).map_or(0, |entry| entry.len)
    }

    /// All tensors that the decoder has, in no order. An embedding that is not the head takes no memory.
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

    /// What becomes of a tensor; `None` if it has no rows to look at.
    fn target(&self, name: &str, entry: &Entry) -> Option<Target> {
        match entry.shape.as_slice() {
            [_] => Some(Target { dtype: GgmlDType::F32, fell_back: false }),
            [_, _] if names::is_exact(name) => {
                Some(Target { dtype: GgmlDType::F32, fell_back: false })
            }
            [.., inputs] => {
                let is_head = name == names::HEAD || name == names::EMBEDDING;
                Some(Target::new(self.0.quantization, is_head, *inputs))
            }
            [] => None,
        }
    }

    fn say_what_falls_back(&self) {
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

    /// A problem as an error that names the folder.
    pub(crate) fn error(&self, problem: SafetensorsError) -> LoadError {
        damaged(self.label(), problem)
    }

    /// A tensor by the decoder's name, if it is there: its name in the files and where it is.
    fn find(&self, name: &str) -> Option<(String, &Entry)> {
        let theirs = names::in_files(name)?;
        let entry = self.0.shards.tensors.get(&theirs)?;
        Some((theirs, entry))
    }

    /// A tensor by the decoder's name, of a shape, in one of the formats that are read.
    fn require(&self, name: &str, shape: &[usize]) -> Result<(String, &Entry, Float), LoadError> {
        let Some((tensor, entry)) = self.find(name) else {
            let tensor = names::in_files(name).unwrap_or_else(|| name.to_owned());
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

    /// Checks a tensor by the decoder's name, but for its numbers. Returns its name in the files.
    ///
    /// # Errors
    /// When it is missing, or of another shape or type.
    pub(crate) fn check(&self, name: &str, shape: &[usize]) -> Result<String, LoadError> {
        self.require(name, shape).map(|(theirs, ..)| theirs)
    }

    /// A matrix `[outputs, inputs]` by the decoder's name, in the format that it is to be held in.
    ///
    /// # Errors
    /// When it is missing, of another shape or type, or holds what is no finite number.
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

    /// A vector as f32.
    ///
    /// # Errors
    /// As of [`matrix`](Self::matrix).
    pub(crate) fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        self.exact(name, &[len])
    }

    /// All numbers of a tensor as f32, row after row.
    ///
    /// # Errors
    /// As of [`matrix`](Self::matrix).
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

    /// Checks that nobody has written to a file with weights since it was opened.
    ///
    /// # Errors
    /// When a size or a time of modification has changed.
    pub(crate) fn check_unchanged(&self) -> Result<(), LoadError> {
        self.0.shards.check_unchanged().map_err(|problem| self.error(problem))
    }

    /// The rows of a matrix `[rows, width]`, to be read from their file one by one.
    ///
    /// # Errors
    /// As of [`matrix`](Self::matrix), but for the numbers, which are not looked at.
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
    /// `[rows, width]`
    pub(crate) fn shape(&self) -> (usize, usize) {
        (self.entry.shape[0], self.entry.shape[1])
    }

    /// Reads one row, `[width]`, by way of `buffer`; `index` must be one of them.
    ///
    /// # Errors
    /// When it can't be read.
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

    /// As of [`SafetensorsModel::check_unchanged`].
    pub(crate) fn check_unchanged(&self) -> Result<(), LoadError> {
        self.model.check_unchanged()
    }
}

fn damaged(label: &str, problem: SafetensorsError) -> LoadError {
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
