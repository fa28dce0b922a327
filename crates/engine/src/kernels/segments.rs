//! Attention within segments of rows, in both directions, as vision towers need it.
//!
//! Each head is computed after the other, blocks of queries on all threads. A block walks the keys of its segment in
//! chunks and keeps the largest score, the sum of weights and the weighted sum of values of each query
//! (<https://arxiv.org/abs/2307.08691>), so the memory is that of one chunk, whatever the length of the segment.
//!
//! - `full`: factors in f32
//! - `pairs`: factors in bf16, where the machine multiplies pairs of them

mod full;
mod pairs;

use std::ops::Range;

use super::simd::Level;
use super::simd::pairs::PairLevel;
use pairs::PairScratch;

/// Keys of a group, and the multiple to which a head is padded: the widest vector.
const GROUP: usize = 16;
/// Queries that share a chunk of keys while it is in the cache.
const BLOCK: usize = 32;

/// Consecutive rows that attend to one another and to no other rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Segments {
    rows: usize,
    segments: Vec<Segment>,
    groups: usize,
    /// The blocks of queries: their rows and the index of their segment.
    blocks: Vec<(Range<usize>, usize)>,
    /// Multiplications of a query with a key.
    pairs: usize,
}

#[derive(Debug, Clone)]
struct Segment {
    rows: Range<usize>,
    /// The index of its first group of keys.
    group: usize,
    /// The index of its first block of queries.
    block: usize,
}

impl Segments {
    /// Creates segments of these lengths, one after the other.
    pub(crate) fn new(lengths: impl IntoIterator<Item = usize>) -> Self {
        let mut all = Self::default();
        for len in lengths {
            let rows = all.rows..all.rows + len;
            let starts = rows.clone().step_by(BLOCK);
            let index = all.segments.len();
            let (group, block) = (all.groups, all.blocks.len());
            all.blocks.extend(starts.map(|at| (at..(at + BLOCK).min(rows.end), index)));
            all.segments.push(Segment { rows: rows.clone(), group, block });
            all.groups += len.div_ceil(GROUP);
            all.pairs += len * len;
            all.rows = rows.end;
        }
        all
    }
}

/// The queries, keys and values of one head. Kept for the next head.
#[derive(Debug, Default)]
pub(crate) struct HeadScratch {
    /// `[rows, head_dim]`
    queries: Vec<f32>,
    /// `[groups, head_dim, GROUP]`
    keys: Vec<f32>,
    /// `[groups * GROUP, padded head_dim]`
    values: Vec<f32>,
    pairs: PairScratch,
}

impl HeadScratch {
    /// Returns the bytes for `rows` rows in segments that are multiples of a group. Pairs need half of it.
    pub(crate) fn bytes(rows: usize, head_dim: usize) -> usize {
        let padded = head_dim.next_multiple_of(GROUP);
        (rows * head_dim + rows.next_multiple_of(GROUP) * (head_dim + padded)) * size_of::<f32>()
    }
}

/// The shape of attention and the angles that rotate queries and keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rotated<'a> {
    pub(crate) heads: usize,
    pub(crate) head_dim: usize,
    /// `[rows, head_dim / 2]`
    pub(crate) cos: &'a [f32],
    /// `[rows, head_dim / 2]`
    pub(crate) sin: &'a [f32],
}

/// The precision of the factors of attention. Scores, weights and sums are in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Factors {
    F32,
    /// Queries, keys, weights and values are rounded to bf16 if that is faster on this machine.
    Bf16,
}

/// Computes attention of all heads. `qkv` is `[rows, 3, heads, head_dim]`, `out` is `[rows, heads, head_dim]`.
/// Queries and keys are rotated by the pairs `(i, i + head_dim / 2)`; scores are divided by the root of `head_dim`.
pub(crate) fn attend(
    qkv: &[f32],
    shape: Rotated<'_>,
    segments: &Segments,
    factors: Factors,
    scratch: &mut HeadScratch,
    out: &mut [f32],
) {
    let Rotated { heads, head_dim, cos, sin } = shape;
    let (rows, width) = (segments.rows, heads * head_dim);
    assert!(qkv.len() == 3 * rows * width && out.len() == rows * width, "rows of another width");
    assert!(cos.len() == rows * (head_dim / 2) && sin.len() == cos.len(), "one angle per pair");
    match PairLevel::best().filter(|_| factors == Factors::Bf16) {
        Some(level) => pairs::attend_on(level, qkv, shape, segments, &mut scratch.pairs, out),
        None => full::attend_on(Level::best_for(&[GROUP]), qkv, shape, segments, scratch, out),
    }
}

#[cfg(test)]
mod tests;
