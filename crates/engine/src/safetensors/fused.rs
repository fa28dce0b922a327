//! Recurrent layers whose projections are in one tensor, as in Qwen3-Next: queries, keys, values and gates of one key head
//! after the other.

use std::ops::Range;

use super::SafetensorsModel;
use super::shards::{Entry, Float, Shards};
use crate::error::{LoadError, SafetensorsError};

/// The sizes of the heads of recurrent layers, by the config.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadSizes {
    pub(super) key_heads: usize,
    /// The number of value heads, a multiple of `key_heads`.
    pub(super) value_heads: usize,
    pub(super) key_dim: usize,
    pub(super) value_dim: usize,
}

/// Rows of a tensor that together are a matrix.
pub(super) struct Heads {
    /// In the order of the matrix.
    rows: Vec<Range<usize>>,
    inputs: usize,
}

impl HeadSizes {
    /// Returns the rows of queries, keys, values and gates of a key head, relative to its first row.
    fn of_key_head(self) -> [Range<usize>; 4] {
        let values = self.value_heads / self.key_heads.max(1) * self.value_dim;
        let mut start = 0;
        [self.key_dim, self.key_dim, values, values].map(|len| {
            start += len;
            start - len..start
        })
    }

    /// Returns the rows of queries, keys and values, or of the gates.
    fn rows(self, is_gate: bool) -> Vec<Range<usize>> {
        let [queries, keys, values, gates] = self.of_key_head();
        let all = gates.end;
        let of_every_head = |part: Range<usize>| {
            (0..self.key_heads).map(move |head| head * all + part.start..head * all + part.end)
        };
        match is_gate {
            true => of_every_head(gates).collect(),
            false => [queries, keys, values].into_iter().flat_map(of_every_head).collect(),
        }
    }
}

impl SafetensorsModel {
    /// Finds the tensor that has the rows of the decoder's matrix together with others.
    pub(super) fn fused(&self, name: &str) -> Option<(String, &Entry, bool)> {
        let (tensor, is_gate) = self.0.names.fused(name)?;
        let entry = self.0.shards.tensors.get(&tensor)?;
        Some((tensor, entry, is_gate))
    }

    /// Describes the rows of queries, keys and values, or of the gates, in the tensor that has both.
    pub(super) fn heads(
        &self,
        tensor: &str,
        entry: &Entry,
        is_gate: bool,
        inputs: usize,
    ) -> Result<Heads, LoadError> {
        let Some(sizes) = self.0.heads else {
            return Err(self.error(SafetensorsError::MissingTensor {
                tensor: tensor.replace("qkvz", "qkv"),
                hint: "",
            }));
        };
        let [.., gates] = sizes.of_key_head();
        self.check_shape(tensor, entry, &[sizes.key_heads * gates.end, inputs])?;
        Ok(Heads { rows: sizes.rows(is_gate), inputs })
    }
}

impl Heads {
    /// Reads the matrix, row by row in the file's format.
    pub(super) fn read(
        &self,
        shards: &Shards,
        entry: &Entry,
        float: Float,
    ) -> Result<Vec<u8>, SafetensorsError> {
        let row = self.inputs * float.size();
        let mut matrix = vec![0; self.rows.iter().map(|rows| rows.len() * row).sum()];
        let mut rest = matrix.as_mut_slice();
        for rows in &self.rows {
            let (part, after) = rest.split_at_mut(rows.len() * row);
            shards.read(entry, rows.start * row, part)?;
            rest = after;
        }
        Ok(matrix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_each_key_head_are_taken_apart() {
        let sizes = HeadSizes { key_heads: 2, value_heads: 4, key_dim: 3, value_dim: 2 };
        assert_eq!(sizes.rows(false), [0..3, 14..17, 3..6, 17..20, 6..10, 20..24]);
        assert_eq!(sizes.rows(true), [10..14, 24..28]);
    }
}
