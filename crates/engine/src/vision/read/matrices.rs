//! Makes matrices for products from stored tensors.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;

use super::super::spec::Precision;
use crate::kernels::dequantize;
use crate::weight_format::WeightFormat;
use crate::weights::{Linear, is_full_precision};

/// Numbers of a block of Q8_0.
pub(super) const BLOCK: usize = 32;

/// A matrix `[outputs, inputs]` as it is stored.
pub(super) struct Stored {
    pub(super) dtype: WeightFormat,
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    pub(super) bytes: Vec<u8>,
}

impl Stored {
    /// Returns all numbers as f32.
    pub(super) fn numbers(&self) -> Result<Vec<f32>> {
        numbers(self.dtype, &self.bytes, &[self.outputs, self.inputs])
    }

    /// Makes a matrix for products. With 8 bits, it is padded with zeros to `outputs` and `inputs`.
    pub(super) fn into_linear(
        self,
        precision: Precision,
        padded: [usize; 2],
        bias: Option<Vec<f32>>,
    ) -> Result<Linear> {
        let [outputs, inputs] = padded;
        let full = is_full_precision(self.dtype);
        if !full && inputs == self.inputs {
            let mut bytes = self.bytes;
            // A block of zero bytes is a block of zeros in every format.
            bytes.resize(bytes.len() / self.outputs * outputs, 0);
            return Linear::from_stored(self.dtype, [outputs, inputs], &bytes, bias);
        }
        let mut numbers = self.numbers()?;
        if inputs != self.inputs {
            let mut wide = vec![0.0; self.outputs * inputs];
            for (wide, row) in wide.chunks_mut(inputs).zip(numbers.chunks(self.inputs)) {
                wide[..self.inputs].copy_from_slice(row);
            }
            numbers = wide;
        }
        numbers.resize(outputs * inputs, 0.0);
        match precision {
            Precision::EightBit if inputs.is_multiple_of(BLOCK) => {
                let bytes = to_q8_0(&numbers, inputs)?;
                Linear::from_stored(GgmlDType::Q8_0, [outputs, inputs], &bytes, bias)
            }
            _ => {
                let weight = Tensor::from_vec(numbers, (outputs, inputs), &Device::Cpu)?;
                Linear::exact(weight, bias)
            }
        }
    }
}

/// Converts stored numbers to f32. Fails if one is infinite or NaN.
pub(super) fn numbers(dtype: WeightFormat, bytes: &[u8], shape: &[usize]) -> Result<Vec<f32>> {
    let mut numbers = vec![0.0; shape.iter().product()];
    dequantize(dtype, bytes, &mut numbers)?;
    if numbers.iter().all(|number| number.is_finite()) {
        return Ok(numbers);
    }
    Err(candle_core::Error::Msg("it holds a weight that is infinite or no number".to_owned()))
}

/// Quantizes rows of `inputs` numbers, which are a multiple of a block.
fn to_q8_0(numbers: &[f32], inputs: usize) -> Result<Vec<u8>> {
    let rows = (1 << 15) / inputs.min(1 << 15);
    let pieces: Result<Vec<Vec<u8>>> = numbers
        .par_chunks(rows * inputs)
        .map(|piece| {
            let piece = Tensor::from_slice(piece, (piece.len() / inputs, inputs), &Device::Cpu)?;
            Ok(QTensor::quantize(&piece, GgmlDType::Q8_0)?.data()?.into_owned())
        })
        .collect();
    Ok(pieces?.concat())
}
