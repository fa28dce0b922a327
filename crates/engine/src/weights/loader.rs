//! Taking tensors out of a file by name and shape.

use candle_core::Device;
use candle_core::quantized::{GgmlDType, QTensor, ggml_file};

use super::{Embedding, Linear};
use crate::LoadError;
use crate::gguf::{GgufError, GgufFile, TensorInfo};
use crate::kernels::packed::Packed;

/// Takes tensors out of a file by name and checks their shape.
pub struct Weights<'a> {
    file: &'a GgufFile,
}

impl<'a> Weights<'a> {
    /// Tensors of `file`.
    pub fn new(file: &'a GgufFile) -> Self {
        Self { file }
    }

    /// Whether the file has this tensor.
    pub fn has(&self, name: &str) -> bool {
        self.file.tensor(name).is_some()
    }

    /// A matrix `[outputs, inputs]` that computes, without a bias.
    pub fn linear(&self, name: &str, outputs: usize, inputs: usize) -> Result<Linear, LoadError> {
        self.matrix(name, outputs, inputs, None)
    }

    /// A matrix `[outputs, inputs]` that computes, with its bias `[outputs]`.
    pub fn biased_linear(
        &self,
        name: &str,
        outputs: usize,
        inputs: usize,
    ) -> Result<Linear, LoadError> {
        let bias = self.vector(&format!("{name}.bias"), outputs)?;
        self.matrix(name, outputs, inputs, Some(bias))
    }

    /// The bytes of the file are let go of.
    fn matrix(
        &self,
        name: &str,
        outputs: usize,
        inputs: usize,
        bias: Option<Vec<f32>>,
    ) -> Result<Linear, LoadError> {
        let name = format!("{name}.weight");
        let info = self.info(&name, &[outputs, inputs])?;
        let linear = linear(info.dtype, self.file.data(info), outputs, inputs, bias);
        self.file.release(info);
        linear.map_err(|error| self.compute_error(&name, &error))
    }

    /// The matrices `[outputs, inputs]` of so many experts, which are one tensor.
    pub fn linears(
        &self,
        name: &str,
        count: usize,
        outputs: usize,
        inputs: usize,
    ) -> Result<Vec<Linear>, LoadError> {
        let name = format!("{name}.weight");
        let info = self.info(&name, &[count, outputs, inputs])?;
        let experts = self.file.data(info).chunks_exact(info.byte_len / count);
        let linears = experts.map(|bytes| linear(info.dtype, bytes, outputs, inputs, None));
        let linears: candle_core::Result<_> = linears.collect();
        self.file.release(info);
        linears.map_err(|error| self.compute_error(&name, &error))
    }

    /// The rows of tokens, `[vocab, hidden]`.
    pub fn embedding(
        &self,
        name: &str,
        vocab: usize,
        hidden: usize,
    ) -> Result<Embedding, LoadError> {
        let info = self.info(&format!("{name}.weight"), &[vocab, hidden])?;
        Ok(Embedding::new(self.file.clone(), info.clone()))
    }

    /// A vector as f32.
    pub fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        self.numbers(name, &[len])
    }

    /// Rows `[rows, len]` as f32, one behind the other. A single row may be a vector too.
    pub fn rows(&self, name: &str, rows: usize, len: usize) -> Result<Vec<f32>, LoadError> {
        let vector = self.file.tensor(name).is_some_and(|info| info.shape.len() == 1);
        if rows == 1 && vector { self.vector(name, len) } else { self.numbers(name, &[rows, len]) }
    }

    fn numbers(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
        let info = self.info(name, shape)?;
        let tensor = self.qtensor(name, info)?.dequantize(&Device::Cpu);
        let numbers = tensor.and_then(|tensor| tensor.flatten_all()?.to_vec1());
        numbers.map_err(|error| self.compute_error(name, &error))
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
        ggml_file::qtensor_from_ggml(info.dtype, data, shape, &Device::Cpu)
            .map_err(|error| self.compute_error(name, &error))
    }

    /// An error of the computing library over one tensor.
    fn compute_error(&self, name: &str, error: &candle_core::Error) -> LoadError {
        LoadError::Compute {
            file: self.file.label().to_owned(),
            problem: format!("tensor {name:?}: {error}"),
        }
    }
}

/// A matrix `[outputs, inputs]` that computes, from its bytes in the file: packed where there are
/// kernels.
fn linear(
    dtype: GgmlDType,
    bytes: &[u8],
    outputs: usize,
    inputs: usize,
    bias: Option<Vec<f32>>,
) -> candle_core::Result<Linear> {
    match Packed::new(dtype, outputs, inputs, bytes).map_err(candle_core::Error::wrap)? {
        Some(weight) => Ok(Linear::packed(weight, bias)),
        None => {
            let shape = vec![outputs, inputs];
            let weight = ggml_file::qtensor_from_ggml(dtype, bytes, shape, &Device::Cpu)?;
            Linear::unpacked(weight, bias)
        }
    }
}

/// Whether a format keeps weights as they were computed with in training, or nearly so.
pub(crate) fn is_full_precision(dtype: GgmlDType) -> bool {
    matches!(dtype, GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16)
}
