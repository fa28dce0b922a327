//! Units of work: blocks of tokens with one key head.

use crate::layout::Spans;

/// Rows per unit of work: enough to pay for reading a page, few enough to stay in the cache.
const BLOCK_ROWS: usize = 64;

/// A block of tokens of one sequence and one key head.
#[derive(Clone, Copy)]
pub(super) struct Unit {
    pub(super) sequence: usize,
    pub(super) kv_head: usize,
    /// Index of the block's first token in the batch, and how many tokens the block has.
    pub(super) row: usize,
    pub(super) tokens: usize,
    /// Position of the block's first token in its sequence.
    pub(super) position: usize,
}

/// Cuts the batch into units and sorts them by the tokens they attend to, most first, so that no
/// thread is left with a long unit at the end.
pub(super) fn cut(spans: Spans<'_>, group: usize, kv_heads: usize, units: &mut Vec<Unit>) {
    let block = (BLOCK_ROWS / group).max(1);
    units.clear();
    let mut row = 0;
    for (sequence, (q_len, kv_len)) in spans.q_lens.iter().zip(spans.kv_lens).enumerate() {
        for first in (0..*q_len).step_by(block) {
            let tokens = block.min(q_len - first);
            let position = kv_len - q_len + first;
            for kv_head in 0..kv_heads {
                units.push(Unit { sequence, kv_head, row: row + first, tokens, position });
            }
        }
        row += q_len;
    }
    // Unstable, since a stable sort would allocate.
    units.sort_unstable_by_key(|unit| std::cmp::Reverse(unit.position + unit.tokens));
}
