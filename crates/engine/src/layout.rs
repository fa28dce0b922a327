//! Types shared by kernels and the layers above: the layout of keys and values in pages, the pages that the
//! rows of a step attend to, and the index of an adapter.

use std::ops::Range;

use half::f16;

/// Tokens per page. A multiple of 32, which paged attention on CUDA requires.
pub const PAGE_TOKENS: usize = 32;

/// The number type of keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvType {
    /// For full-precision weights, where rounding to f16 would be the largest error.
    F32,
    /// Half the memory. With quantized weights its rounding error is negligible.
    F16,
}

impl KvType {
    /// Bytes per number.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }
}

/// The shape of a model's keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvShape {
    /// The number of layers.
    pub layers: usize,
    /// The number of KV heads.
    pub kv_heads: usize,
    /// Numbers per head.
    pub head_dim: usize,
    /// The number type.
    pub kv_type: KvType,
}

impl KvShape {
    /// Bytes of keys and values per token, over all layers.
    pub fn bytes_per_token(self) -> usize {
        self.layers * self.kv_heads * self.head_dim * 2 * self.kv_type.size()
    }
}

/// The most tokens that the convolution of a recurrent layer may see.
pub(crate) const MAX_KERNEL: usize = 8;

/// The shape of a sequence's recurrent state, in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateShape {
    /// The number of recurrent layers.
    pub layers: usize,
    /// Numbers of a layer's convolution: `[kernel - 1, channels]`.
    pub conv: usize,
    /// Numbers of a layer's memory: `[value_heads, key_dim, value_dim]`.
    pub memory: usize,
}

impl StateShape {
    /// Bytes of one sequence's state, over all layers.
    pub fn bytes(self) -> usize {
        self.layers * (self.conv + self.memory) * size_of::<f32>()
    }
}

/// All keys `[pages, kv_heads, head_dim, PAGE_TOKENS]`, or all values
/// `[pages, kv_heads, PAGE_TOKENS, head_dim]`, of one layer.
#[derive(Debug, Clone, Copy)]
pub enum LayerPages<'a> {
    /// f32.
    F32(&'a [f32]),
    /// f16.
    F16(&'a [f16]),
}

/// The recurrent states of the sequences of a step. Borrowed from the step's batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recurrence<'a> {
    /// The rows of each sequence, one after the other.
    pub(crate) spans: &'a [StateSpan],
    /// What is saved on the way, in the order of `spans`.
    pub(crate) saves: &'a [StateSave],
}

/// The rows of a sequence, and the slots of its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateSpan {
    /// Its rows of the step.
    pub(crate) rows: Range<usize>,
    /// The slot with the state before these rows, or `None` at the beginning of the sequence.
    pub(crate) from: Option<u32>,
    /// The slot for the state after these rows.
    pub(crate) to: u32,
    /// Its part of the step's saves, by ascending row.
    pub(crate) saves: Range<usize>,
}

/// A state that is saved on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StateSave {
    /// The number of its sequence's rows in the step before it; at least 1.
    pub(crate) after: usize,
    /// The slot that it is written to.
    pub(crate) slot: u32,
}

/// The index of an adapter in its engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdapterId(u32);

impl AdapterId {
    /// The id of the adapter at index `place`.
    pub(crate) fn new(place: usize) -> Self {
        Self(u32::try_from(place).unwrap_or(u32::MAX))
    }

    /// Returns its index.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }

    /// Returns the bytes that distinguish its page keys from those of other adapters.
    pub(crate) fn salt(self) -> [u8; 4] {
        self.0.to_le_bytes()
    }
}

/// Which pages the rows of a step attend to: some tokens of some sequences, one sequence after the
/// other. Borrowed from the step's batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spans<'a> {
    /// The number of rows of each sequence in this step. `[sequences]`
    pub(crate) q_lens: &'a [usize],
    /// The number of tokens of each sequence after this step. `[sequences]`
    pub(crate) kv_lens: &'a [usize],
    /// The pages of each sequence in the order of its tokens, sequence after sequence.
    pub(crate) pages: &'a [u32],
    /// Where each sequence's pages end in `pages`. `[sequences]`
    pub(crate) page_ends: &'a [usize],
}

impl<'a> Spans<'a> {
    /// The number of rows of all sequences.
    #[cfg(feature = "cuda")]
    pub(crate) fn rows(&self) -> usize {
        self.q_lens.iter().sum()
    }

    /// Returns the pages of a sequence, in the order of its tokens.
    pub(crate) fn block_table(&self, sequence: usize) -> &'a [u32] {
        let start = sequence.checked_sub(1).map_or(0, |before| self.page_ends[before]);
        &self.pages[start..self.page_ends[sequence]]
    }
}
