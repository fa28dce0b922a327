//! Products with a matrix on the CPU.

use std::sync::Arc;

use candle_core::quantized::{QMatMul, QTensor, ggml_file};
use candle_core::{DType, Device, Module, Result, Tensor};

use crate::kernels::packed::{Activations, Packed, multiply};
use crate::kernels::{as_numbers, rows, small_matmul};
use crate::weight_format::WeightFormat;

/// Computes `x · weightᵀ + bias`.
#[derive(Debug)]
pub struct Linear {
    weight: Weight,
    /// `[outputs]`
    bias: Option<Vec<f32>>,
    outputs: usize,
    inputs: usize,
}

/// `[outputs, inputs]`
#[derive(Debug)]
enum Weight {
    /// Packed for the engine's kernels. The file's format is not kept.
    Packed(Packed),
    /// In the file's format: full precision, formats without a kernel, machines without one.
    Candle {
        matmul: QMatMul,
        /// The quantized weight, unless it is full precision.
        quantized: Option<Arc<QTensor>>,
    },
}

/// Buffers for products. Kept for the next product.
#[derive(Debug, Default)]
pub struct Scratch(Activations);

impl Linear {
    /// Uses a packed weight, and a bias `[outputs]`.
    pub(super) fn packed(weight: Packed, bias: Option<Vec<f32>>) -> Self {
        let (outputs, inputs) = (weight.outputs(), weight.inputs());
        Self { weight: Weight::Packed(weight), bias, outputs, inputs }
    }

    /// Uses a weight `[outputs, inputs]` in its file format, and a bias `[outputs]`.
    pub(super) fn unpacked(weight: QTensor, bias: Option<Vec<f32>>) -> Result<Self> {
        let weight = Arc::new(weight);
        let (outputs, inputs) = weight.shape().dims2()?;
        let matmul = QMatMul::from_arc(weight.clone())?;
        let quantized = matches!(matmul, QMatMul::QTensor(_)).then_some(weight);
        Ok(Self { weight: Weight::Candle { matmul, quantized }, bias, outputs, inputs })
    }

    /// Uses a weight `[outputs, inputs]` in the bytes of a GGUF format, packed if there is a kernel, and a bias
    /// `[outputs]`.
    pub(crate) fn from_stored(
        format: impl Into<WeightFormat>,
        [outputs, inputs]: [usize; 2],
        bytes: &[u8],
        bias: Option<Vec<f32>>,
    ) -> Result<Self> {
        let format = format.into();
        match (Packed::new(format, outputs, inputs, bytes), format) {
            (Ok(Some(weight)), _) => Ok(Self::packed(weight, bias)),
            (Ok(None), WeightFormat::Candle(dtype)) => {
                let shape = vec![outputs, inputs];
                Self::unpacked(
                    ggml_file::qtensor_from_ggml(dtype, bytes, shape, &Device::Cpu)?,
                    bias,
                )
            }
            (Ok(None), format) => candle_core::bail!("{format:?} has no kernel"),
            (Err(error), _) => Err(candle_core::Error::wrap(error)),
        }
    }

    /// Uses a weight `[outputs, inputs]` of f32, and a bias `[outputs]`.
    pub(crate) fn exact(weight: Tensor, bias: Option<Vec<f32>>) -> Result<Self> {
        let (outputs, inputs) = weight.dims2()?;
        let weight = Weight::Candle { matmul: QMatMul::Tensor(weight), quantized: None };
        Ok(Self { weight, bias, outputs, inputs })
    }

    /// The number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Returns the bytes that the weight takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        match &self.weight {
            Weight::Packed(weight) => weight.bytes(),
            Weight::Candle { quantized: Some(weight), .. } => weight.storage_size_in_bytes(),
            Weight::Candle { quantized: None, .. } => self.outputs * self.inputs * size_of::<f32>(),
        }
    }

    /// Multiplies `x` `[rows, inputs]` and writes `out` `[rows, outputs]`, both f32.
    pub fn forward(&self, x: &[f32], out: &mut [f32], scratch: &mut Scratch) -> Result<()> {
        Self::forward_shared([self], x, [out], scratch)
    }

    /// Multiplies one `x` by several weights. Quantizes it once and runs packed products as one
    /// job.
    pub fn forward_shared<const N: usize>(
        linears: [&Self; N],
        x: &[f32],
        mut outs: [&mut [f32]; N],
        Scratch(activations): &mut Scratch,
    ) -> Result<()> {
        if linears.iter().any(|one| matches!(one.weight, Weight::Packed(_))) {
            activations.quantize(x, linears[0].inputs);
        }
        if let Some(packed) = all(linears.map(Self::as_packed)) {
            multiply(packed, activations, outs.each_mut().map(|out| &mut **out));
        } else {
            for (linear, out) in linears.iter().zip(&mut outs) {
                match &linear.weight {
                    Weight::Packed(weight) => multiply([weight], activations, [&mut **out]),
                    Weight::Candle { matmul, quantized } => {
                        linear.unpacked_product(matmul, quantized.as_deref(), x, out)?;
                    }
                }
            }
        }
        for (linear, out) in linears.iter().zip(outs) {
            if let Some(bias) = &linear.bias {
                rows::add_bias(out, bias);
            }
        }
        Ok(())
    }

    /// Returns whether the products of a row are the same, to the bit, whatever other rows are computed with it.
    pub(crate) fn is_packed(&self) -> bool {
        self.as_packed().is_some()
    }

    fn as_packed(&self) -> Option<&Packed> {
        match &self.weight {
            Weight::Packed(weight) => Some(weight),
            Weight::Candle { .. } => None,
        }
    }

    /// Computes a product with candle, or with [`small_matmul`] for small weights. candle's
    /// products of types narrower than f32 run on one thread.
    fn unpacked_product(
        &self,
        matmul: &QMatMul,
        quantized: Option<&QTensor>,
        x: &[f32],
        out: &mut [f32],
    ) -> Result<()> {
        let rows = x.len() / self.inputs;
        match quantized {
            Some(weight) if small_matmul::is_small(weight, rows) => {
                out.copy_from_slice(&small_matmul::multiply(weight, x)?);
            }
            _ => {
                let x = Tensor::from_slice(x, (rows, self.inputs), &Device::Cpu)?;
                out.copy_from_slice(&as_numbers(&matmul.forward(&x)?)?);
            }
        }
        Ok(())
    }

    /// Makes candle prepare its layouts now instead of in the first request.
    pub fn warm_up(&self) -> Result<()> {
        if let Weight::Candle { matmul, .. } = &self.weight {
            // Some formats have one layout for single rows and another for several.
            for rows in [1, 2] {
                matmul.forward(&Tensor::zeros((rows, self.inputs), DType::F32, &Device::Cpu)?)?;
            }
        }
        Ok(())
    }
}

/// Returns all values, or `None` if one is missing.
fn all<T: Copy, const N: usize>(options: [Option<T>; N]) -> Option<[T; N]> {
    let first = *options.first()?;
    let mut values = [first?; N];
    for (value, option) in values.iter_mut().zip(options) {
        *value = option?;
    }
    Some(values)
}
