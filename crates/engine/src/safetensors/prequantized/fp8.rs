//! FP8 in blocks, as Qwen and DeepSeek publish: `w = fp8 · scale`, with one scale for a rectangle of weights.
//!
//! `NAME.weight` `[outputs, inputs]` has floats of 4 bits of exponent and 3 of mantissa (E4M3 without infinities, after
//! [FP8 Formats for Deep Learning](https://arxiv.org/abs/2209.05433)), and `NAME.weight_scale_inv` the scales, by which
//! they are multiplied in spite of the name.

use std::collections::HashMap;

use safetensors::tensor::Dtype;

use super::{FLOATS, Method, Parts, check, require};
use crate::error::SafetensorsError;
use crate::files::Bytes;
use crate::safetensors::quantize::RowSource;
use crate::safetensors::shards::Shards;

/// The numbers of all bytes.
static NUMBERS: [f32; 256] = {
    let (mut numbers, mut byte) = ([0.0; 256], 0);
    while byte < 256 {
        let (exponent, mantissa) = ((byte >> 3 & 15) as u32, (byte & 7) as f32);
        let size = match (exponent, byte & 7) {
            (15, 7) => f32::NAN,
            (0, _) => mantissa / 512.0,
            // (8 + mantissa) · 2^(exponent - 10)
            _ => (8.0 + mantissa) * f32::from_bits((exponent + 117) << 23),
        };
        numbers[byte] = if byte < 128 { size } else { -size };
        byte += 1;
    }
    numbers
};

/// A matrix `[outputs, inputs]`.
pub(super) struct Matrix {
    inputs: usize,
    block: [usize; 2],
    weights: Bytes<'static>,
    /// `[outputs / block[0], inputs / block[1]]`, rounded up.
    scales: Vec<f32>,
}

/// Takes all matrices in FP8 out of the tensors.
pub(super) fn take(
    block: [usize; 2],
    shards: &mut Shards,
) -> Result<HashMap<String, Parts>, SafetensorsError> {
    let quantized = shards.tensors.iter().filter(|(_, entry)| entry.dtype == Dtype::F8_E4M3);
    let names: Vec<String> = quantized.map(|(name, _)| name.clone()).collect();
    let mut all = HashMap::new();
    for name in names {
        let Some(weight) = shards.tensors.remove(&name) else { continue };
        let &[outputs, inputs] = weight.shape.as_slice() else {
            check(&name, &weight, &[0, 0], &[Dtype::F8_E4M3])?;
            continue;
        };
        let blocks = [outputs.div_ceil(block[0]), inputs.div_ceil(block[1])];
        let scales = require(shards, format!("{name}_scale_inv"), &blocks, &FLOATS)?;
        let (method, shape) = (Method::Fp8 { block }, [outputs, inputs]);
        all.insert(name, Parts { method, shape, weight, scales, zeros: None, groups: None });
    }
    Ok(all)
}

impl Matrix {
    pub(super) fn read(
        block: [usize; 2],
        parts: &Parts,
        shards: &Shards,
    ) -> Result<Self, SafetensorsError> {
        let (weights, scales) = (shards.data(&parts.weight)?, super::scales(parts, shards)?);
        Ok(Self { inputs: parts.shape[1], block, weights, scales })
    }
}

impl RowSource for Matrix {
    fn widen_rows(&self, first: usize, out: &mut [f32]) -> bool {
        let per_row = self.inputs.div_ceil(self.block[1]);
        let weights = self.weights[first * self.inputs..].chunks_exact(self.inputs);
        let mut finite = true;
        for (row, (out, weights)) in out.chunks_exact_mut(self.inputs).zip(weights).enumerate() {
            let scales = &self.scales[(first + row) / self.block[0] * per_row..][..per_row];
            let blocks = out.chunks_mut(self.block[1]).zip(weights.chunks(self.block[1]));
            for ((out, weights), scale) in blocks.zip(scales) {
                for (out, weight) in out.iter_mut().zip(weights) {
                    *out = NUMBERS[usize::from(*weight)] * scale;
                    finite &= out.is_finite();
                }
            }
        }
        finite
    }
}
