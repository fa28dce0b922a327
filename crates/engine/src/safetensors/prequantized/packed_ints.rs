//! GPTQ and AWQ: `w = scale · (q - zero)`, with integers of 4 bits (GPTQ also 8) packed into words of 32, and a scale and
//! a zero for each output and each group of inputs.
//!
//! ```text
//! NAME.qweight  GPTQ  [inputs / n, outputs]   n = 32 / bits; the lowest bits are the first input
//!               AWQ   [inputs, outputs / 8]   from the lowest bits: outputs 0 2 4 6 1 3 5 7
//! NAME.qzeros         [groups, outputs / n]   GPTQ: the lowest bits are the first output; AWQ: as above
//! NAME.scales         [groups, outputs]
//! NAME.g_idx    GPTQ  [inputs]                the group of each input; without it groups are of equal length
//! ```
//!
//! GPTQ's first format stores zeros less one. Sources: `qlinear` of AutoGPTQ and GPTQModel, `WQLinear_GEMM` of AutoAWQ.

use std::collections::HashMap;

use safetensors::tensor::Dtype;

use super::{FLOATS, Method, Parts, check, require};
use crate::error::SafetensorsError;
use crate::files::Bytes;
use crate::safetensors::quantize::{self, RowSource};
use crate::safetensors::shards::Shards;

/// The place of each output of eight in a word of AWQ.
const AWQ_PLACES: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

/// Projections that have a bias in some models.
const WITH_BIAS: [&str; 3] = ["q_proj", "k_proj", "v_proj"];

/// A matrix `[outputs, inputs]`.
pub(super) struct Matrix {
    method: Method,
    outputs: usize,
    inputs: usize,
    words: Bytes<'static>,
    /// `[groups, outputs]`
    scales: Vec<f32>,
    /// `[groups, outputs]`
    zeros: Vec<f32>,
    /// The group of each input.
    groups: Vec<usize>,
}

/// Takes all packed matrices out of the tensors.
pub(super) fn take(
    method: Method,
    shards: &mut Shards,
) -> Result<HashMap<String, Parts>, SafetensorsError> {
    let modules = shards.tensors.keys().filter_map(|name| name.strip_suffix(".qweight"));
    let modules: Vec<String> = modules.map(str::to_owned).collect();
    let mut all = HashMap::new();
    for module in modules {
        let Some(weight) = shards.tensors.remove(&format!("{module}.qweight")) else { continue };
        let name = format!("{module}.qweight");
        let &[first, second] = weight.shape.as_slice() else {
            check(&name, &weight, &[0, 0], &[Dtype::I32])?;
            continue;
        };
        check(&name, &weight, &[first, second], &[Dtype::I32])?;
        let per_word = method.per_word();
        let [outputs, inputs] = match method {
            Method::Awq => [second * per_word, first],
            _ => [second, first * per_word],
        };
        let scales = format!("{module}.scales");
        let groups = shards.tensors.get(&scales).and_then(|entry| entry.shape.first());
        let groups = groups.copied().unwrap_or(1).clamp(1, inputs.max(1));
        let scales = require(shards, scales, &[groups, outputs], &FLOATS)?;
        let words = [groups, outputs.div_ceil(per_word)];
        let zeros = Some(require(shards, format!("{module}.qzeros"), &words, &[Dtype::I32])?);
        let order = format!("{module}.g_idx");
        let order = match shards.tensors.contains_key(&order) {
            true => Some(require(shards, order, &[inputs], &[Dtype::I32])?),
            false => None,
        };
        drop_zero_bias(&module, shards)?;
        let shape = [outputs, inputs];
        let parts = Parts { method, shape, weight, scales, zeros, groups: order };
        all.insert(format!("{module}.weight"), parts);
    }
    Ok(all)
}

/// Removes the bias of zeros that AutoGPTQ writes for projections without one.
fn drop_zero_bias(module: &str, shards: &mut Shards) -> Result<(), SafetensorsError> {
    let name = format!("{module}.bias");
    let Some(entry) = shards.tensors.get(&name) else { return Ok(()) };
    if WITH_BIAS.iter().any(|own| module.ends_with(own)) {
        return Ok(());
    }
    let Some(float) = entry.float() else { return Ok(()) };
    let (numbers, _) = quantize::widen_all(float, &shards.data(entry)?);
    if numbers.iter().all(|number| *number == 0.0) {
        shards.tensors.remove(&name);
    }
    Ok(())
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word))
}

impl Matrix {
    pub(super) fn read(
        name: &str,
        parts: &Parts,
        shards: &Shards,
    ) -> Result<Self, SafetensorsError> {
        let ([outputs, inputs], method) = (parts.shape, parts.method);
        let scales = super::scales(parts, shards)?;
        let count = scales.len() / outputs.max(1);
        let (per_word, bits, mask) = (method.per_word(), method.bits(), method.mask());
        let mut zeros = vec![0.0; scales.len()];
        if let Some(entry) = &parts.zeros {
            let packed: Vec<u32> = words(&shards.data(entry)?).collect();
            let of_group = outputs.div_ceil(per_word);
            for (at, zero) in zeros.iter_mut().enumerate() {
                let (group, output) = (at / outputs, at % outputs);
                let place = match method {
                    Method::Awq => AWQ_PLACES[output % per_word],
                    _ => output % per_word,
                };
                let word = packed[group * of_group + output / per_word];
                *zero = ((word >> (bits * place) & mask) + method.zero_offset()) as f32;
            }
        }
        let groups: Vec<usize> = match &parts.groups {
            Some(entry) => words(&shards.data(entry)?).map(|group| group as usize).collect(),
            None => {
                let size = inputs.div_ceil(count.max(1)).max(1);
                (0..inputs).map(|input| input / size).collect()
            }
        };
        if let Some(wrong) = groups.iter().find(|group| **group >= count) {
            return Err(SafetensorsError::BadGroup {
                tensor: name.replace(".weight", ".g_idx"),
                found: *wrong as u64,
                groups: count,
            });
        }
        Ok(Self {
            method,
            outputs,
            inputs,
            words: shards.data(&parts.weight)?,
            scales,
            zeros,
            groups,
        })
    }

    fn word(&self, index: usize) -> u32 {
        let bytes = &self.words[4 * index..4 * index + 4];
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }
}

impl RowSource for Matrix {
    fn widen_rows(&self, first: usize, out: &mut [f32]) -> bool {
        let Self { method, outputs, inputs, .. } = *self;
        let (per_word, bits, mask) = (method.per_word(), method.bits(), method.mask());
        let mut finite = true;
        for input in 0..inputs {
            let group = self.groups[input] * outputs;
            for (row, out) in out.chunks_exact_mut(inputs).enumerate() {
                let output = first + row;
                let (word, place) = match method {
                    Method::Awq => {
                        let word = input * (outputs / per_word) + output / per_word;
                        (word, AWQ_PLACES[output % per_word])
                    }
                    _ => (input / per_word * outputs + output, input % per_word),
                };
                let q = (self.word(word) >> (bits * place) & mask) as f32;
                let number = self.scales[group + output] * (q - self.zeros[group + output]);
                finite &= number.is_finite();
                out[input] = number;
            }
        }
        finite
    }
}
