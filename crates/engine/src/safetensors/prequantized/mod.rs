//! Weights that were quantized before they were published: FP8 in blocks, GPTQ and AWQ.
//!
//! Each matrix of such a model is several tensors. When a folder is opened they become one tensor with the name and
//! shape of the unquantized matrix, so the rest of the module sees an unquantized model. When the matrix is loaded, a
//! few of its rows at a time are dequantized to f32 and quantized to the format asked for.
//!
//! - `method`: reads the method from `config.json`, and refuses all others by name
//! - `fp8`: floats of 8 bits; `packed_ints`: integers of GPTQ and AWQ

mod fp8;
mod method;
mod packed_ints;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use safetensors::tensor::Dtype;

pub(super) use method::{Method, method};

use super::SafetensorsError;
use super::quantize::{self, RowSource};
use super::shards::{Entry, Shards};

/// The tensors of one matrix.
#[derive(Debug)]
struct Parts {
    method: Method,
    /// `[outputs, inputs]`
    shape: [usize; 2],
    weight: Entry,
    scales: Entry,
    zeros: Option<Entry>,
    /// The group of each input.
    groups: Option<Entry>,
}

/// The matrices of a model that are quantized, by the names that they have in an unquantized one.
#[derive(Debug, Default)]
pub(super) struct Prequantized(HashMap<String, Parts>);

impl Prequantized {
    /// Replaces the tensors of each quantized matrix by one with the name and the shape of the unquantized matrix.
    ///
    /// # Errors
    /// Returns an error if a tensor of a matrix is missing, or has another shape or type.
    pub(super) fn take(method: Method, shards: &mut Shards) -> Result<Self, SafetensorsError> {
        let all = match method {
            Method::Fp8 { block } => fp8::take(block, shards)?,
            Method::Gptq { .. } | Method::Awq => packed_ints::take(method, shards)?,
        };
        for (name, parts) in &all {
            // The type is not used: rows are read by way of `read`.
            let mut entry = parts.weight.clone();
            (entry.shape, entry.dtype) = (parts.shape.to_vec(), Dtype::F32);
            if shards.tensors.insert(name.clone(), entry).is_some() {
                let (first, second) = ("unquantized form".to_owned(), "quantized form".to_owned());
                return Err(SafetensorsError::Duplicate { tensor: name.clone(), first, second });
            }
        }
        Ok(Self(all))
    }

    /// Whether no matrix is quantized.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a tensor is a quantized matrix.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Reads a quantized matrix; `None` if the tensor is not one.
    ///
    /// # Errors
    /// Returns an error if it can't be read, or a group is out of range.
    pub(super) fn read(
        &self,
        name: &str,
        shards: &Shards,
    ) -> Result<Option<Box<dyn RowSource>>, SafetensorsError> {
        let Some(parts) = self.0.get(name) else { return Ok(None) };
        Ok(Some(match parts.method {
            Method::Fp8 { block } => Box::new(fp8::Matrix::read(block, parts, shards)?),
            Method::Gptq { .. } | Method::Awq => {
                Box::new(packed_ints::Matrix::read(name, parts, shards)?)
            }
        }))
    }
}

/// Removes and returns a tensor that belongs to a quantized matrix.
fn require(
    shards: &mut Shards,
    tensor: String,
    shape: &[usize],
    types: &[Dtype],
) -> Result<Entry, SafetensorsError> {
    let Some(entry) = shards.tensors.remove(&tensor) else {
        let hint = ", which its quantized weights need";
        return Err(SafetensorsError::MissingTensor { tensor, hint });
    };
    check(&tensor, &entry, shape, types).map(|()| entry)
}

/// Checks the shape and the type of a tensor.
fn check(
    tensor: &str,
    entry: &Entry,
    shape: &[usize],
    types: &[Dtype],
) -> Result<(), SafetensorsError> {
    let tensor = tensor.to_owned();
    if entry.shape != shape {
        let (found, expected) = (entry.shape.clone(), shape.to_vec());
        return Err(SafetensorsError::WrongShape { tensor, found, expected });
    }
    if !types.contains(&entry.dtype) {
        return Err(SafetensorsError::UnknownType { tensor, found: entry.dtype.to_string() });
    }
    Ok(())
}

/// Reads the scales of a matrix as f32.
fn scales(parts: &Parts, shards: &Shards) -> Result<Vec<f32>, SafetensorsError> {
    let float = parts.scales.float().ok_or_else(|| SafetensorsError::UnknownType {
        tensor: "scales".to_owned(),
        found: parts.scales.dtype.to_string(),
    })?;
    // Numbers that are not finite are found in the weights.
    Ok(quantize::widen_all(float, &shards.data(&parts.scales)?).0)
}

/// The types of scales.
const FLOATS: [Dtype; 3] = [Dtype::F32, Dtype::F16, Dtype::BF16];
