//! Converts the numbers of a file to the formats of the matrix products.

use std::ops::Deref;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use half::{bf16, f16};
use rayon::prelude::*;

use super::shards::Float;
use crate::quantization::Quantization;

/// The approximate count of numbers that a thread converts at once, so that they stay in its cache.
const PIECE: usize = 1 << 15;

/// The target format of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    /// The format in memory.
    pub(super) dtype: GgmlDType,
    /// Whether the requested format was replaced because it does not fit the rows.
    pub(super) fell_back: bool,
}

impl Target {
    /// Chooses the format of a matrix with rows of `inputs` numbers. The head gets two bits more than the other
    /// matrices, as in llama.cpp, since it selects the tokens.
    ///
    /// If a format does not fit the rows, the next more precise one is used.
    pub(super) fn new(quantization: Quantization, is_head: bool, inputs: usize) -> Self {
        let wanted: &[GgmlDType] = match (quantization, is_head) {
            (Quantization::None, _) => &[],
            (Quantization::EightBit, _) => &[GgmlDType::Q8_0],
            (Quantization::FourBit, false) => &[GgmlDType::Q4K, GgmlDType::Q8_0],
            (Quantization::FourBit, true) => &[GgmlDType::Q6K, GgmlDType::Q8_0],
        };
        let fitting = wanted.iter().position(|dtype| inputs.is_multiple_of(dtype.block_size()));
        Self {
            dtype: fitting.map_or(GgmlDType::F32, |at| wanted[at]),
            fell_back: !wanted.is_empty() && fitting != Some(0),
        }
    }

    /// Returns the bytes of `weights` numbers.
    pub(super) fn bytes(self, weights: usize) -> usize {
        weights / self.dtype.block_size() * self.dtype.type_size()
    }
}

/// Bytes of a file, read or computed.
pub(super) type FileBytes = Box<dyn Deref<Target = [u8]> + Send + Sync>;

/// A matrix in a file's format.
pub(super) trait RowSource: Sync {
    /// Converts as many rows as `out` holds to f32, from `first` on. Returns whether all numbers are finite.
    fn widen_rows(&self, first: usize, out: &mut [f32]) -> bool;
}

/// A matrix of floats.
pub(super) struct Floats {
    pub(super) float: Float,
    pub(super) bytes: FileBytes,
    pub(super) inputs: usize,
}

impl RowSource for Floats {
    fn widen_rows(&self, first: usize, out: &mut [f32]) -> bool {
        let start = first * self.inputs * self.float.size();
        let bytes: &[u8] = &self.bytes;
        widen(self.float, &bytes[start..][..out.len() * self.float.size()], out)
    }
}

/// Converts bytes of a file to f32. Returns whether all numbers are finite.
pub(super) fn widen(float: Float, bytes: &[u8], out: &mut [f32]) -> bool {
    match float {
        Float::F32 => {
            for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *out = f32::from_le_bytes(*bytes);
            }
        }
        Float::F16 => {
            for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *out = f16::from_le_bytes(*bytes).to_f32();
            }
        }
        Float::BF16 => {
            for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *out = bf16::from_le_bytes(*bytes).to_f32();
            }
        }
    }
    out.iter().all(|number| number.is_finite())
}

/// Does the same with all threads.
pub(super) fn widen_all(float: Float, bytes: &[u8]) -> (Vec<f32>, bool) {
    let mut numbers = vec![0.0; bytes.len() / float.size()];
    let finite = numbers
        .par_chunks_mut(PIECE)
        .zip(bytes.par_chunks(PIECE * float.size()))
        .map(|(out, bytes)| widen(float, bytes, out))
        .reduce(|| true, |a, b| a && b);
    (numbers, finite)
}

/// Converts a matrix `[outputs, inputs]` to f32 with all threads; also returns whether all its numbers are finite.
pub(super) fn exact(source: &dyn RowSource, [outputs, inputs]: [usize; 2]) -> (Vec<f32>, bool) {
    let mut numbers = vec![0.0; outputs * inputs];
    let rows = rows_of_piece(inputs);
    let finite = numbers
        .par_chunks_mut(rows * inputs)
        .enumerate()
        .map(|(piece, out)| source.widen_rows(piece * rows, out))
        .reduce(|| true, |a, b| a && b);
    (numbers, finite)
}

/// Converts a matrix `[outputs, inputs]` to another format; also returns whether all its numbers are finite.
/// Threads share its rows, so the only temporary memory is one piece of numbers per thread.
pub(super) fn quantize(
    source: &dyn RowSource,
    [outputs, inputs]: [usize; 2],
    dtype: GgmlDType,
) -> candle_core::Result<(Vec<u8>, bool)> {
    let out_row_bytes = inputs / dtype.block_size() * dtype.type_size();
    let rows = rows_of_piece(inputs);
    let mut out = vec![0; outputs * out_row_bytes];
    let finite = out
        .par_chunks_mut(rows * out_row_bytes)
        .enumerate()
        .map(|(piece, out)| {
            let mut numbers = vec![0.0; out.len() / out_row_bytes * inputs];
            let finite = source.widen_rows(piece * rows, &mut numbers);
            let shape = (numbers.len() / inputs, inputs);
            let numbers = Tensor::from_vec(numbers, shape, &Device::Cpu)?;
            out.copy_from_slice(&QTensor::quantize(&numbers, dtype)?.data()?);
            Ok(finite)
        })
        .try_reduce(|| true, |a, b| candle_core::Result::Ok(a && b))?;
    Ok((out, finite))
}

/// Returns the rows that a thread converts at once.
fn rows_of_piece(inputs: usize) -> usize {
    (PIECE / inputs).max(1)
}
