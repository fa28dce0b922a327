//! The size and format of a tensor before it is loaded, whatever its file's format.

use crate::weight_format::WeightFormat;

/// The size and format of a tensor before it is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredTensor {
    /// The layer that it belongs to; `None` for the embedding, the last norm and the head.
    pub(crate) layer: Option<usize>,
    /// The format that it has in memory.
    pub(crate) dtype: WeightFormat,
    /// Whether it has more than one dimension.
    pub(crate) is_matrix: bool,
    /// The number of weights.
    pub(crate) weights: usize,
    /// Its size in memory, in bytes.
    pub(crate) bytes: usize,
}

/// Parses the layer number that follows `prefix` in a tensor's name, as in `blk.3.attn_q.weight`.
pub(crate) fn layer_of(name: &str, prefix: &str) -> Option<usize> {
    name.strip_prefix(prefix)?.split_once('.')?.0.parse().ok()
}
