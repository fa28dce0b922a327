//! Taking tensors out of a file by name and shape.

use candle_core::quantized::{GgmlDType, QTensor, ggml_file};
use candle_core::{Device, Tensor};

use super::Linear;
use crate::LoadError;
use crate::gguf::{GgufError, GgufFile, TensorInfo};

/// Takes tensors out of a file by name, checks their shape and puts them on a device.
pub struct Weights<'a> {
    file: &'a GgufFile,
    device: &'a Device,
}

impl<'a> Weights<'a> {
    /// Tensors of `file`, for `device`.
    pub fn new(file: &'a GgufFile, device: &'a Device) -> Self {
        Self { file, device }
    }

    /// Whether the file has this tensor.
    pub fn has(&self, name: &str) -> bool {
        self.file.tensor(name).is_some()
    }

    /// A matrix `[outputs, inputs]` that computes, without a bias.
    pub fn linear(&self, name: &str, outputs: usize, inputs: usize) -> Result<Linear, LoadError> {
        let weight = self.matrix(&format!("{name}.weight"), outputs, inputs)?;
        Linear::new(weight, None).map_err(|error| self.compute_error(name, &error))
    }

    /// A matrix `[outputs, inputs]` that computes, with its bias `[outputs]`.
    pub fn biased_linear(
        &self,
        name: &str,
        outputs: usize,
        inputs: usize,
    ) -> Result<Linear, LoadError> {
        let weight = self.matrix(&format!("{name}.weight"), outputs, inputs)?;
        let bias = self.vector(&format!("{name}.bias"), outputs)?;
        Linear::new(weight, Some(bias)).map_err(|error| self.compute_error(name, &error))
    }

    /// A matrix `[rows, columns]` in its file format.
    pub fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<QTensor, LoadError> {
        let info = self.info(name, &[rows, columns])?;
        self.qtensor(name, info)
    }

    /// A vector as f32.
    pub fn vector(&self, name: &str, len: usize) -> Result<Tensor, LoadError> {
        let info = self.info(name, &[len])?;
        let tensor = self.qtensor(name, info)?;
        tensor.dequantize(self.device).map_err(|error| self.compute_error(name, &error))
    }

    fn info(&self, name: &str, shape: &[usize]) -> Result<&'a TensorInfo, LoadError> {
        let Some(info) = self.file.tensor(name) else {
            return Err(self.file.error(GgufError::MissingTensor { name: name.to_owned() }));
        };
        if info.shape != shape {
            return Err(self.file.error(GgufError::WrongShape {
                name: name.to_owned(),
                found: info.shape.clone(),
                expected: shape.to_vec(),
            }));
        }
        Ok(info)
    }

    fn qtensor(&self, name: &str, info: &TensorInfo) -> Result<QTensor, LoadError> {
        let (data, shape) = (self.file.data(info), info.shape.clone());
        ggml_file::qtensor_from_ggml(info.dtype, data, shape, self.device)
            .map_err(|error| self.compute_error(name, &error))
    }

    /// An error of the computing library over one tensor.
    pub fn compute_error(&self, name: &str, error: &candle_core::Error) -> LoadError {
        LoadError::Compute {
            file: self.file.label().to_owned(),
            problem: format!("tensor {name:?}: {error}"),
        }
    }
}

/// Whether a format keeps weights as they were computed with in training, or nearly so.
pub(crate) fn is_full_precision(dtype: GgmlDType) -> bool {
    matches!(dtype, GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16)
}
