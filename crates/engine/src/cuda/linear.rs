//! Products with a matrix on the device.

use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QMatMul, QTensor, ggml_file};
use candle_core::{DType, Device, Module, Result, Tensor};

use crate::LoadError;
use crate::architecture::MatrixSpec;
use crate::kernels::cuda::{AdaptedStep, Deltas, Kernels};
use crate::weights::{Stored, Weights};

/// Computes `x · weightᵀ + bias` plus the adapters' products.
#[derive(Debug)]
pub(super) struct Linear {
    weight: Weight,
    /// `[outputs]`
    bias: Option<Tensor>,
    /// The adapters' matrices, if any adapter has some for this projection.
    deltas: Option<Deltas>,
}

/// `[outputs, inputs]`
#[derive(Debug)]
enum Weight {
    /// In the file's format. candle multiplies up to eight rows by its mmvq kernels, more by its
    /// mmq kernels.
    Quantized(Arc<QTensor>),
    /// f32, f16 or bf16.
    Full(Tensor),
}

impl Linear {
    /// Loads a matrix, with its bias if it has one.
    pub(super) fn load(
        weights: &Weights<'_>,
        device: &Device,
        spec: &MatrixSpec,
    ) -> std::result::Result<Self, LoadError> {
        let MatrixSpec { name, outputs, inputs, .. } = spec;
        let (outputs, inputs) = (*outputs, *inputs);
        let bias = weights.bias(spec)?.map(|bias| on_device(weights, device, bias, &[outputs]));
        let weight =
            weights.with_stored(&format!("{name}.weight"), &[outputs, inputs], |stored| {
                match stored {
                    Stored::Exact(numbers) => {
                        Tensor::from_vec(numbers, (outputs, inputs), device).map(Weight::Full)
                    }
                    Stored::Bytes(dtype, bytes) => match full_precision_dtype(dtype) {
                        Some(dtype) => {
                            Tensor::from_raw_buffer(bytes, dtype, &[outputs, inputs], &Device::Cpu)
                                .and_then(|weight| weight.to_device(device))
                                .map(Weight::Full)
                        }
                        None => quantized(dtype, bytes, &[outputs, inputs], device)
                            .map(|weight| Weight::Quantized(Arc::new(weight))),
                    },
                }
            })?;
        Ok(Self { weight, bias: bias.transpose()?, deltas: None })
    }

    /// Sets the adapters' matrices.
    pub(super) fn adapt(&mut self, deltas: Option<Deltas>) {
        self.deltas = deltas;
    }

    /// Multiplies `x`, `[rows, inputs]`, and returns `[rows, outputs]`, both f32. Adds the
    /// adapters' products if `adapted` is given; `x` must then have all rows of the step.
    pub(super) fn forward(
        &self,
        kernels: &Kernels,
        x: &Tensor,
        adapted: Option<&AdaptedStep>,
    ) -> Result<Tensor> {
        let out = match &self.weight {
            Weight::Quantized(weight) => QMatMul::QTensor(weight.clone()).forward(x)?,
            Weight::Full(weight) => {
                x.to_dtype(weight.dtype())?.matmul(&weight.t()?)?.to_dtype(DType::F32)?
            }
        };
        if let Some(bias) = &self.bias {
            kernels.add_bias(&out, bias)?;
        }
        if let (Some(deltas), Some(step)) = (&self.deltas, adapted) {
            kernels.add_low_rank(deltas, step, x, &out)?;
        }
        Ok(out)
    }

    /// Returns the rows `ids` of the weight as f32, `[ids, inputs]`: for a head that is the
    /// embedding too.
    pub(super) fn rows(&self, ids: &Tensor) -> Result<Tensor> {
        match &self.weight {
            Weight::Quantized(weight) => weight.embedding(ids),
            Weight::Full(weight) => weight.index_select(ids, 0)?.to_dtype(DType::F32),
        }
    }
}

/// Copies f32 numbers to the device as a tensor of this shape.
pub(super) fn on_device(
    weights: &Weights<'_>,
    device: &Device,
    numbers: Vec<f32>,
    shape: &[usize],
) -> std::result::Result<Tensor, LoadError> {
    Tensor::from_vec(numbers, shape, device).map_err(|error| weights.device_error(&error))
}

/// Copies a quantized tensor to the device in its format.
pub(super) fn quantized(
    dtype: GgmlDType,
    bytes: &[u8],
    shape: &[usize],
    device: &Device,
) -> Result<QTensor> {
    ggml_file::qtensor_from_ggml(dtype, bytes, shape.to_vec(), device)
}

fn full_precision_dtype(dtype: GgmlDType) -> Option<DType> {
    match dtype {
        GgmlDType::F32 => Some(DType::F32),
        GgmlDType::F16 => Some(DType::F16),
        GgmlDType::BF16 => Some(DType::BF16),
        _ => None,
    }
}
