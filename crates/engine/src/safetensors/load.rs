//! Loads tensors by the decoder's names.

use candle_core::quantized::GgmlDType;

use super::fused::Heads;
use super::packed::Expert;
use super::quantize::{self, FileBytes, Floats, RowSource, Target};
use super::shards::{Entry, Float};
use super::{Inner, SafetensorsError, SafetensorsModel};
use crate::error::LoadError;

/// A loaded matrix.
pub(crate) enum Matrix {
    /// In a quantized format, row by row.
    Quantized(GgmlDType, Vec<u8>),
    /// `[outputs, inputs]` as f32.
    Exact(Vec<f32>),
}

/// A tensor in the files, after its checks.
pub(super) struct Found<'a> {
    /// Its name in the files.
    pub(super) tensor: String,
    pub(super) entry: &'a Entry,
    pub(super) float: Float,
    /// The part that is the matrix, if the tensor has others too.
    part: Option<Part>,
}

/// A part of a tensor.
enum Part {
    /// The matrix of one expert, of those of all experts.
    Expert(Expert),
    /// Some rows of each key head.
    Heads(Heads),
}

impl SafetensorsModel {
    /// Finds a tensor by the decoder's name, and checks its shape and that its format is supported.
    fn require(&self, name: &str, shape: &[usize]) -> Result<Found<'_>, LoadError> {
        let theirs = self.0.names.theirs(name);
        let own = theirs.as_ref().and_then(|theirs| self.0.shards.tensors.get(theirs));
        let (tensor, entry, part) = match (theirs, own) {
            (Some(tensor), Some(entry)) => {
                self.check_shape(&tensor, entry, shape)?;
                (tensor, entry, None)
            }
            (theirs, _) => match (self.packed(name), self.fused(name), shape) {
                (Some((packed, entry)), _, &[outputs, inputs]) => {
                    let expert = self.expert(&packed, entry, outputs, inputs)?;
                    (packed.tensor, entry, Some(Part::Expert(expert)))
                }
                (_, Some((tensor, entry, is_gate)), &[_, inputs]) => {
                    let heads = self.heads(&tensor, entry, is_gate, inputs)?;
                    (tensor, entry, Some(Part::Heads(heads)))
                }
                _ => return Err(self.missing(theirs.unwrap_or_else(|| name.to_owned()))),
            },
        };
        match entry.float() {
            Some(float) => Ok(Found { tensor, entry, float, part }),
            None => Err(self.metadata().unsupported(format!(
                "tensor {tensor:?} has the type {}, which is not supported; supported are F32, F16 and \
                 BF16",
                entry.dtype
            ))),
        }
    }

    /// Checks the shape of a tensor.
    pub(super) fn check_shape(
        &self,
        tensor: &str,
        entry: &Entry,
        expected: &[usize],
    ) -> Result<(), LoadError> {
        // A convolution of each channel by itself: `[channels, 1, kernel]`.
        let squeezed = match *entry.shape.as_slice() {
            [channels, 1, kernel] if self.0.names.is_convolution(tensor) => [channels, kernel],
            _ => [0; 2],
        };
        if entry.shape == expected || squeezed == expected {
            return Ok(());
        }
        Err(self.error(SafetensorsError::WrongShape {
            tensor: tensor.to_owned(),
            found: entry.shape.clone(),
            expected: expected.to_vec(),
        }))
    }

    fn missing(&self, tensor: String) -> LoadError {
        let hint = match tensor == self.0.names.head {
            true => {
                ", though config.json says that the embedding is not the head \
                 (tie_word_embeddings is false)"
            }
            false => "",
        };
        self.error(SafetensorsError::MissingTensor { tensor, hint })
    }

    /// Checks a tensor by the decoder's name, without its numbers. Returns its name in the files.
    ///
    /// # Errors
    /// Returns an error if it is missing, or has another shape or type.
    pub(crate) fn check(&self, name: &str, shape: &[usize]) -> Result<String, LoadError> {
        self.require(name, shape).map(|found| found.tensor)
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
        let found = self.require(name, &[outputs, inputs])?;
        let (source, shape) = (self.source(&found, inputs)?, [outputs, inputs]);
        let tensor = found.tensor;
        let target = Target::new(self.0.quantization, self.is_head(&tensor), inputs);
        let (matrix, finite) = if target.dtype == GgmlDType::F32 {
            let (numbers, finite) = quantize::exact(&*source, shape);
            (Matrix::Exact(numbers), finite)
        } else {
            let (bytes, finite) =
                quantize::quantize(&*source, shape, target.dtype).map_err(|error| {
                    LoadError::Compute {
                        file: self.label().to_owned(),
                        problem: format!("tensor {tensor:?}: {error}"),
                    }
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
        let found = self.require(name, shape)?;
        let inputs = shape.last().copied().unwrap_or(1);
        let mut numbers = vec![0.0; shape.iter().product()];
        match self.source(&found, inputs)?.widen_rows(0, &mut numbers) {
            true => Ok(numbers),
            false => Err(self.error(SafetensorsError::NotFinite { tensor: found.tensor })),
        }
    }

    /// Reads a matrix with rows of `inputs` numbers in the file's format.
    fn source(&self, found: &Found<'_>, inputs: usize) -> Result<Box<dyn RowSource>, LoadError> {
        let Inner { prequantized, shards, .. } = &*self.0;
        if found.part.is_some() && prequantized.has(&found.tensor) {
            return Err(self.quantized_elsewhere(&found.tensor));
        }
        let quantized = prequantized.read(&found.tensor, shards);
        match quantized.map_err(|problem| self.error(problem))? {
            Some(source) => Ok(source),
            None => {
                let (float, bytes) = (found.float, self.data(found)?);
                Ok(Box::new(Floats { float, bytes, inputs }))
            }
        }
    }

    /// Returns the error for a quantized tensor that is read only unquantized.
    fn quantized_elsewhere(&self, tensor: &str) -> LoadError {
        self.metadata().unsupported(format!(
            "tensor {tensor:?} is quantized in the files; embeddings, and tensors of several matrices, are read only \
             unquantized: take the unquantized model, or a GGUF file of it"
        ))
    }

    /// Reads the numbers of a tensor, or of the part that is an expert's matrix, in the file's format.
    fn data(&self, found: &Found<'_>) -> Result<FileBytes, LoadError> {
        let Found { entry, float, .. } = *found;
        let shards = &self.0.shards;
        let bytes = match &found.part {
            None => shards.data(entry).map(|bytes| Box::new(bytes) as FileBytes),
            Some(Part::Expert(expert)) => {
                expert.read(shards, entry, float).map(|bytes| Box::new(bytes) as FileBytes)
            }
            Some(Part::Heads(heads)) => {
                heads.read(shards, entry, float).map(|bytes| Box::new(bytes) as FileBytes)
            }
        };
        bytes.map_err(|problem| self.error(problem))
    }

    /// Returns the rows of a matrix `[rows, width]`, which are read from its file one by one.
    ///
    /// # Errors
    /// Returns the errors of [`matrix`](Self::matrix), except that the numbers are not checked.
    pub(crate) fn rows(&self, name: &str, rows: usize, width: usize) -> Result<Rows, LoadError> {
        let Found { tensor, entry, float, .. } = self.require(name, &[rows, width])?;
        if self.0.prequantized.has(&tensor) {
            return Err(self.quantized_elsewhere(&tensor));
        }
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
