//! Experts whose matrices are in one tensor for all experts of a layer, as in Qwen3-VL-MoE: `gate_up_proj`
//! `[experts, 2 · width, hidden]` and `down_proj` `[experts, hidden, width]`, or both with the last two dimensions
//! exchanged, as published. As in transformers, the shape decides.

use rayon::prelude::*;

use super::SafetensorsModel;
use super::names::Packed;
use super::shards::{Entry, Float, Shards};
use crate::error::{LoadError, SafetensorsError};

/// Rows that a thread turns together: few enough to be written one beside the other.
const TURNED: usize = 16;

/// The matrix of one expert in a tensor of all experts.
pub(super) struct Expert {
    /// The number of the expert.
    index: usize,
    /// The first of its outputs among those of the tensor, and their number.
    outputs: (usize, usize),
    /// The outputs that an expert has in the tensor.
    all_outputs: usize,
    inputs: usize,
    /// Whether the tensor has a row per input instead of one per output.
    turned: bool,
}

impl SafetensorsModel {
    /// Finds the tensor that has an expert's matrix together with those of all experts.
    pub(super) fn packed(&self, name: &str) -> Option<(Packed, &Entry)> {
        let packed = self.0.names.packed(name)?;
        let entry = self.0.shards.tensors.get(&packed.tensor)?;
        Some((packed, entry))
    }

    /// Describes an expert's matrix `[outputs, inputs]` in the tensor that has it.
    pub(super) fn expert(
        &self,
        packed: &Packed,
        entry: &Entry,
        outputs: usize,
        inputs: usize,
    ) -> Result<Expert, LoadError> {
        let (place, matrices) = packed.place;
        let all_outputs = matrices * outputs;
        let shape = [self.0.experts, all_outputs, inputs];
        let turned = entry.shape == [self.0.experts, inputs, all_outputs] && entry.shape != shape;
        if !turned {
            self.check_shape(&packed.tensor, entry, &shape)?;
        }
        let outputs = (place * outputs, outputs);
        Ok(Expert { index: packed.expert, outputs, all_outputs, inputs, turned })
    }

    /// Returns the inputs of the matrices in a tensor of all experts.
    pub(super) fn packed_inputs(&self, name: &str, entry: &Entry) -> usize {
        let hidden = self.0.shards.tensors.get(&self.0.names.embedding());
        let hidden = hidden.and_then(|embedding| embedding.shape.get(1)).copied();
        let (Some(hidden), &[_, first, last]) = (hidden, entry.shape.as_slice()) else { return 0 };
        match name.ends_with("down_proj") {
            true if first != hidden => first,
            false if last != hidden => first,
            _ => last,
        }
    }
}

impl Expert {
    /// Reads the matrix, row by row in the file's format.
    pub(super) fn read(
        &self,
        shards: &Shards,
        entry: &Entry,
        float: Float,
    ) -> Result<Vec<u8>, SafetensorsError> {
        let (size, (first, outputs)) = (float.size(), self.outputs);
        let of_expert = self.all_outputs * self.inputs * size;
        let start = self.index * of_expert;
        let mut matrix = vec![0; outputs * self.inputs * size];
        if !self.turned {
            shards.read(entry, start + first * self.inputs * size, &mut matrix)?;
            return Ok(matrix);
        }
        let mut stored = vec![0; of_expert];
        shards.read(entry, start, &mut stored)?;
        let row = self.inputs * size;
        matrix.par_chunks_mut(TURNED * row).enumerate().for_each(|(block, matrix)| {
            let start = (first + block * TURNED) * size;
            for (input, stored) in stored.chunks_exact(self.all_outputs * size).enumerate() {
                let numbers = stored[start..].chunks_exact(size);
                for (matrix, number) in matrix.chunks_exact_mut(row).zip(numbers) {
                    matrix[input * size..][..size].copy_from_slice(number);
                }
            }
        });
        Ok(matrix)
    }
}
