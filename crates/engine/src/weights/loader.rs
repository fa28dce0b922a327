//! Loads tensors of a checkpoint by name and shape.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use candle_core::quantized::GgmlDType;
use candle_core::{DType, Device, Tensor};

use super::{Embedding, Linear};
use crate::architecture::{MatrixSpec, Part, VectorForm, VectorSpec};
use crate::gguf::{GgufError, GgufFile, TensorInfo};
use crate::kernels::dequantize;
use crate::progress::Progress;
use crate::safetensors::{Matrix, SafetensorsModel};
use crate::weight_format::WeightFormat;
use crate::{Checkpoint, LoadError};

/// Loads tensors of a checkpoint by name and checks their shapes.
pub struct Weights<'a> {
    checkpoint: &'a Checkpoint,
    /// Progress of tensors that are quantized at load. Packing alone is quick and reports none.
    progress: Option<Mutex<Loaded>>,
    /// What was asked for, by its name in the files, where nothing but the headers is read.
    inventory: Option<Mutex<BTreeSet<String>>>,
}

/// A tensor in its stored form.
#[cfg(feature = "cuda")]
pub(crate) enum Stored<'a> {
    /// The bytes of a GGUF format.
    Bytes(GgmlDType, &'a [u8]),
    /// f32.
    Exact(Vec<f32>),
}

/// How much has been loaded.
struct Loaded {
    /// Bytes in memory.
    bytes: u64,
    progress: Progress,
}

impl<'a> Weights<'a> {
    /// Loads tensors of a part of `checkpoint`. Progress is reported relative to the part's size.
    pub(crate) fn of_part(checkpoint: &'a Checkpoint, part: &Part) -> Self {
        let progress = matches!(checkpoint, Checkpoint::Safetensors(_)).then(|| {
            let all = checkpoint.part_bytes(part) as u64;
            let progress = Progress::new("loading", checkpoint.label(), Some(all), true);
            Mutex::new(Loaded { bytes: 0, progress })
        });
        Self { checkpoint, progress, inventory: None }
    }

    /// All tensors of `checkpoint`, of which only the headers are read: what is loaded has no numbers, and is
    /// only good for finding out which tensors there must be.
    pub(crate) fn from_headers(checkpoint: &'a Checkpoint) -> Self {
        Self { checkpoint, progress: None, inventory: Some(Mutex::default()) }
    }

    /// The tensors that were asked for, by their names in the files.
    pub(crate) fn taken(&self) -> BTreeSet<String> {
        let taken = self
            .inventory
            .as_ref()
            .map(|taken| taken.lock().unwrap_or_else(PoisonError::into_inner).clone());
        taken.unwrap_or_default()
    }

    /// Notes and checks a tensor where only the headers are read; returns whether that is so.
    fn takes(&self, name: &str, shape: &[usize]) -> Result<bool, LoadError> {
        let Some(inventory) = &self.inventory else { return Ok(false) };
        let theirs = match self.checkpoint {
            Checkpoint::Gguf(file) => info(file, name, shape).map(|_| name.to_owned())?,
            Checkpoint::Safetensors(model) => model.check(name, shape)?,
        };
        inventory.lock().unwrap_or_else(PoisonError::into_inner).insert(theirs);
        Ok(true)
    }

    /// A matrix without numbers.
    fn empty(&self, name: &str) -> Result<Linear, LoadError> {
        let nothing = Tensor::zeros((0, 0), DType::F32, &Device::Cpu);
        let nothing = nothing.and_then(|nothing| Linear::exact(nothing, None));
        nothing.map_err(|error| self.compute_error(name, &error))
    }

    /// Whether the head has weights of its own (the model is not tied).
    pub fn has_own_head(&self) -> bool {
        match self.checkpoint {
            Checkpoint::Gguf(file) => file.tensor("output.weight").is_some(),
            Checkpoint::Safetensors(model) => model.has_own_head(),
        }
    }

    /// Loads a matrix, with its bias if it has one.
    pub(crate) fn linear(&self, spec: &MatrixSpec) -> Result<Linear, LoadError> {
        let MatrixSpec { name, outputs, inputs, .. } = spec;
        self.matrix(name, *outputs, *inputs, self.bias(spec)?)
    }

    /// Loads the bias of a matrix, if it has one.
    pub(crate) fn bias(&self, spec: &MatrixSpec) -> Result<Option<Vec<f32>>, LoadError> {
        let MatrixSpec { name, outputs, bias, .. } = spec;
        bias.then(|| self.numbers_of(&format!("{name}.bias"), *outputs)).transpose()
    }

    /// Loads a matrix.
    fn matrix(
        &self,
        name: &str,
        outputs: usize,
        inputs: usize,
        bias: Option<Vec<f32>>,
    ) -> Result<Linear, LoadError> {
        let name = format!("{name}.weight");
        let shape = [outputs, inputs];
        if self.takes(&name, &shape)? {
            return self.empty(&name);
        }
        let linear = match self.checkpoint {
            Checkpoint::Gguf(file) => {
                let info = info(file, &name, &shape)?;
                Linear::from_stored(info.dtype, shape, &file.data(info)?, bias)
            }
            Checkpoint::Safetensors(model) => self.quantized(model, &name, shape, bias)?,
        };
        linear.map_err(|error| self.compute_error(&name, &error))
    }

    /// Loads the matrices of `count` experts: one tensor in a GGUF file, one per expert elsewhere.
    pub(crate) fn linears(
        &self,
        spec: &MatrixSpec,
        count: usize,
    ) -> Result<Vec<Linear>, LoadError> {
        let MatrixSpec { name, outputs, inputs, .. } = spec;
        let (outputs, inputs) = (*outputs, *inputs);
        let file = match self.checkpoint {
            Checkpoint::Gguf(file) => file,
            Checkpoint::Safetensors(_) => {
                let one = |expert| self.matrix(&format!("{name}.{expert}"), outputs, inputs, None);
                return (0..count).map(one).collect();
            }
        };
        let name = format!("{name}.weight");
        if self.takes(&name, &[count, outputs, inputs])? {
            return Ok(Vec::new());
        }
        let info = info(file, &name, &[count, outputs, inputs])?;
        let bytes = file.data(info)?;
        let experts = bytes.chunks_exact(info.byte_len / count);
        let shape = [outputs, inputs];
        let linears = experts.map(|bytes| Linear::from_stored(info.dtype, shape, bytes, None));
        let linears: candle_core::Result<_> = linears.collect();
        linears.map_err(|error| self.compute_error(&name, &error))
    }

    /// Returns the GGUF file from which experts are loaded to a device.
    #[cfg(feature = "cuda")]
    fn experts_gguf_file(&self) -> Result<&'a GgufFile, LoadError> {
        match self.checkpoint {
            Checkpoint::Gguf(file) => Ok(file),
            Checkpoint::Safetensors(model) => Err(model.metadata().unsupported(
                "it is a model of experts as safetensors; for a GPU those are read from GGUF files",
            )),
        }
    }

    fn quantized(
        &self,
        model: &SafetensorsModel,
        name: &str,
        [outputs, inputs]: [usize; 2],
        bias: Option<Vec<f32>>,
    ) -> Result<candle_core::Result<Linear>, LoadError> {
        let (linear, bytes) = match model.matrix(name, outputs, inputs)? {
            Matrix::Quantized(dtype, bytes) => {
                (Linear::from_stored(dtype, [outputs, inputs], &bytes, bias), bytes.len())
            }
            Matrix::Exact(numbers) => {
                let bytes = size_of_val(numbers.as_slice());
                let weight = Tensor::from_vec(numbers, (outputs, inputs), &Device::Cpu);
                (weight.and_then(|weight| Linear::exact(weight, bias)), bytes)
            }
        };
        self.loaded(bytes);
        Ok(linear)
    }

    /// Reports that `bytes` more bytes are in memory.
    fn loaded(&self, bytes: usize) {
        if let Some(loaded) = &self.progress {
            let mut loaded = loaded.lock().unwrap_or_else(PoisonError::into_inner);
            loaded.bytes += bytes as u64;
            let bytes = loaded.bytes;
            loaded.progress.at(bytes);
        }
    }

    /// Opens the embedding `[vocab, hidden]`, whose rows are read from the file.
    pub fn embedding(
        &self,
        name: &str,
        vocab: usize,
        hidden: usize,
    ) -> Result<Embedding, LoadError> {
        let name = format!("{name}.weight");
        self.takes(&name, &[vocab, hidden])?;
        match self.checkpoint {
            Checkpoint::Gguf(file) => {
                let info = info(file, &name, &[vocab, hidden])?;
                Ok(Embedding::of_gguf(file.clone(), info.clone()))
            }
            Checkpoint::Safetensors(model) => {
                model.rows(&name, vocab, hidden).map(Embedding::from_safetensors)
            }
        }
    }

    /// Calls `hold` with a tensor of this shape in its stored form, to copy it elsewhere.
    #[cfg(feature = "cuda")]
    pub(crate) fn with_stored<T>(
        &self,
        name: &str,
        shape: &[usize],
        hold: impl FnOnce(Stored<'_>) -> candle_core::Result<T>,
    ) -> Result<T, LoadError> {
        let held = match (self.checkpoint, shape) {
            (Checkpoint::Safetensors(model), &[outputs, inputs]) => {
                let (matrix, bytes) = match model.matrix(name, outputs, inputs)? {
                    Matrix::Quantized(dtype, bytes) => {
                        (hold(Stored::Bytes(dtype, &bytes)), bytes.len())
                    }
                    Matrix::Exact(numbers) => {
                        let bytes = size_of_val(numbers.as_slice());
                        (hold(Stored::Exact(numbers)), bytes)
                    }
                };
                self.loaded(bytes);
                matrix
            }
            _ => {
                let file = self.experts_gguf_file()?;
                let info = info(file, name, shape)?;
                let Some(dtype) = info.dtype.candle() else {
                    return Err(file.unsupported(format!(
                        "tensor {name:?} has the type {:?}, which GPUs do not compute; use a file of Q4_K_M or \
                         another K quantization, or run the model on the CPU",
                        info.dtype
                    )));
                };
                hold(Stored::Bytes(dtype, &file.data(info)?))
            }
        };
        held.map_err(|error| match self.device_error(&error) {
            LoadError::Compute { .. } => self.compute_error(name, &error),
            other => other,
        })
    }

    /// Converts an error of a device.
    #[cfg(feature = "cuda")]
    pub(crate) fn device_error(&self, error: &candle_core::Error) -> LoadError {
        crate::error::load_error(self.checkpoint.label(), error)
    }

    /// Loads a vector as f32.
    pub(crate) fn vector(&self, spec: &VectorSpec) -> Result<Vec<f32>, LoadError> {
        let mut numbers = self.numbers_of(&spec.name, spec.len)?;
        // GGUF files hold the values that are used.
        if matches!(self.checkpoint, Checkpoint::Safetensors(_)) {
            match spec.form {
                VectorForm::Plain => {}
                VectorForm::ZeroCentred => numbers.iter_mut().for_each(|number| *number += 1.0),
                VectorForm::LogOfNegative => {
                    numbers.iter_mut().for_each(|number| *number = -number.exp());
                }
            }
        }
        Ok(numbers)
    }

    /// Returns the error for a model that a device does not compute.
    #[cfg(feature = "cuda")]
    pub(crate) fn unsupported(&self, problem: &str) -> LoadError {
        self.checkpoint.metadata().unsupported(problem)
    }

    fn numbers_of(&self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        if self.takes(name, &[len])? {
            return Ok(Vec::new());
        }
        match self.checkpoint {
            Checkpoint::Gguf(file) => self.numbers(file, name, &[len]),
            Checkpoint::Safetensors(model) => model.vector(name, len),
        }
    }

    /// Loads a matrix as f32: a router, or a small one of a recurrent layer. A single row may be stored as a vector.
    pub(crate) fn rows(&self, spec: &MatrixSpec) -> Result<Vec<f32>, LoadError> {
        let (rows, len) = (spec.outputs, spec.inputs);
        let name = &format!("{}.weight", spec.name);
        let is_vector = match self.checkpoint {
            Checkpoint::Gguf(file) if rows == 1 => {
                file.tensor(name).is_some_and(|info| info.shape.len() == 1)
            }
            _ => false,
        };
        let matrix = [rows, len];
        let shape = if is_vector { &matrix[1..] } else { &matrix };
        if self.takes(name, shape)? {
            return Ok(Vec::new());
        }
        match self.checkpoint {
            Checkpoint::Gguf(file) => self.numbers(file, name, shape),
            Checkpoint::Safetensors(model) => model.exact(name, shape),
        }
    }

    fn numbers(&self, file: &GgufFile, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
        let info = info(file, name, shape)?;
        let mut numbers = vec![0.0; shape.iter().product()];
        let done = dequantize(info.dtype, &file.data(info)?, &mut numbers);
        done.map(|()| numbers).map_err(|error| self.compute_error(name, &error))
    }

    /// Converts an error of candle about one tensor.
    fn compute_error(&self, name: &str, error: &candle_core::Error) -> LoadError {
        LoadError::Compute {
            file: self.checkpoint.label().to_owned(),
            problem: format!("tensor {name:?}: {error}"),
        }
    }
}

/// Finds a tensor of a GGUF file and checks its shape.
fn info<'a>(file: &'a GgufFile, name: &str, shape: &[usize]) -> Result<&'a TensorInfo, LoadError> {
    let Some(info) = file.tensor(name) else {
        return Err(file.error(GgufError::MissingTensor { name: name.to_owned() }));
    };
    if info.shape != shape {
        return Err(file.error(GgufError::WrongShape {
            name: name.to_owned(),
            found: info.shape.clone(),
            expected: shape.to_vec(),
        }));
    }
    Ok(info)
}

/// Whether a format is full precision: F32, F16 or BF16.
pub(crate) fn is_full_precision(format: WeightFormat) -> bool {
    matches!(format.candle(), Some(GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16))
}
