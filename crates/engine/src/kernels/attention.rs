//! Attention over KV pages.
//!
//! One unit of work is a block of tokens of one sequence with one key head and all the query heads
//! that share it. It walks the sequence's pages once and keeps, for each of its rows (token × query
//! head), the largest score so far, the sum of weights and the weighted sum of values (online
//! softmax, Milakov and Gimelshein, <https://arxiv.org/abs/1805.02867>). So no score matrix is
//! stored, and each page is read once for all rows.
//!
//! - `units`: cuts a batch into units
//! - `page`: loads pages
//! - `softmax`: the kernels

mod page;
mod softmax;
mod units;

use std::cell::{Cell, RefCell};

use self::page::page_of;
use self::softmax::{PageState, SIDE_BY_SIDE, mix_half_page, mix_page, rows_per_pass};
use self::units::{Unit, cut};
use super::parallel::{SharedOut, for_uneven_pieces};
use super::simd::Level;
use crate::layout::{KvShape, LayerPages, PAGE_TOKENS, Spans};

/// Computes causal attention: each token attends to its sequence up to and including itself.
///
/// `q` and `out` are `[tokens, heads, head_dim]`, f32. The keys and values of the batch's tokens
/// must already be in the pages.
pub(crate) fn paged_attention(
    q: &[f32],
    heads: usize,
    (keys, values): (LayerPages<'_>, LayerPages<'_>),
    shape: KvShape,
    spans: Spans<'_>,
    out: &mut [f32],
) {
    let KvShape { kv_heads, head_dim, .. } = shape;
    let mut units = UNITS.take();
    cut(spans, heads / kv_heads, kv_heads, &mut units);
    let level = Level::best_for(&[head_dim, PAGE_TOKENS]);
    let shared = SharedOut::new(out);
    let seen = spans.q_lens.iter().zip(spans.kv_lens).map(|(q_len, kv_len)| q_len * kv_len);
    // Proportional to the products. With few rows, reading the pages takes most of the time.
    let cost = seen.sum::<usize>() * heads * head_dim;
    for_uneven_pieces(units.len(), cost, |range| {
        for unit in &units[range] {
            SCRATCH.with_borrow_mut(|scratch| {
                let table = spans.block_table(unit.sequence);
                run_unit(level, *unit, q, heads, keys, values, shape, table, scratch, shared);
            });
        }
    });
    UNITS.set(units);
}

/// Buffers that a thread keeps between units, so that steps allocate nothing.
#[derive(Default)]
struct Scratch {
    /// `[rows, head_dim]`, scaled queries
    q: Vec<f32>,
    /// `[rows, PAGE_TOKENS]`, scores and then weights of one page
    scores: Vec<f32>,
    /// `[rows, head_dim]`, weighted values
    sums: Vec<f32>,
    /// `[rows]`, largest score so far
    largest: Vec<f32>,
    /// `[rows]`, sum of weights
    weights: Vec<f32>,
    /// One page of keys `[head_dim, PAGE_TOKENS]` and of values `[PAGE_TOKENS, head_dim]`, widened.
    keys: Vec<f32>,
    values: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
    /// The units of the current batch. Kept by the thread that calls [`paged_attention`].
    static UNITS: Cell<Vec<Unit>> = const { Cell::new(Vec::new()) };
}

/// Computes the rows of a unit: walks its sequence's pages, then writes the normalised sums to `out`.
#[allow(clippy::too_many_arguments)]
fn run_unit(
    level: Level,
    unit: Unit,
    q: &[f32],
    heads: usize,
    keys: LayerPages<'_>,
    values: LayerPages<'_>,
    shape: KvShape,
    table: &[u32],
    scratch: &mut Scratch,
    out: SharedOut<'_, f32>,
) {
    let KvShape { kv_heads, head_dim, .. } = shape;
    let group = heads / kv_heads;
    let rows = unit.tokens * group;
    // Rows are ordered by token: row = token * group + head of the group.
    let place = |token: usize| ((unit.row + token) * heads + unit.kv_head * group) * head_dim;
    let scale = 1.0 / (head_dim as f32).sqrt();
    scratch.q.clear();
    for token in 0..unit.tokens {
        let from = &q[place(token)..place(token) + group * head_dim];
        scratch.q.extend(from.iter().map(|q| q * scale));
    }
    // Rows are computed side by side; the padding rows are computed and not used.
    let padded = rows.next_multiple_of(rows_per_pass(rows));
    scratch.q.resize(padded * head_dim, 0.0);
    scratch.scores.resize(padded * PAGE_TOKENS, 0.0);
    scratch.sums.clear();
    scratch.sums.resize(padded * head_dim, 0.0);
    scratch.largest.clear();
    scratch.largest.resize(padded, f32::NEG_INFINITY);
    scratch.weights.clear();
    scratch.weights.resize(padded, 0.0);

    let seen = unit.position + unit.tokens;
    let piece = PAGE_TOKENS * head_dim;
    for (index, page) in table.iter().enumerate().take(seen.div_ceil(PAGE_TOKENS)) {
        let Scratch { q, scores, sums, largest, weights, keys: wide_keys, values: wide_values } =
            &mut *scratch;
        let start = (*page as usize * kv_heads + unit.kv_head) * piece;
        let as_stored = rows <= SIDE_BY_SIDE;
        let range = start..start + piece;
        let keys = page_of(level, keys, range.clone(), as_stored, wide_keys);
        let values = page_of(level, values, range, as_stored, wide_values);
        let first = index * PAGE_TOKENS;
        let state = PageState {
            head_dim,
            // The page's slots beyond the sequence's end may hold another sequence's old values.
            filled: (seen - first).min(PAGE_TOKENS),
            // How many of the page's tokens the unit's first token attends to.
            position: unit.position as isize - first as isize + 1,
            group,
            rows,
        };
        match (keys, values) {
            (LayerPages::F32(keys), LayerPages::F32(values)) => {
                mix_page(level, &state, keys, values, q, scores, sums, largest, weights);
            }
            (LayerPages::F16(keys), LayerPages::F16(values)) => {
                mix_half_page(level, &state, keys, values, q, scores, sums, largest, weights);
            }
            _ => unreachable!("keys and values are of one type"),
        }
    }
    for token in 0..unit.tokens {
        // SAFETY: the heads of a group of a token belong to one unit.
        let out = unsafe { out.part(place(token)..place(token) + group * head_dim) };
        for (head, out) in out.chunks_exact_mut(head_dim).enumerate() {
            let row = token * group + head;
            let share = 1.0 / scratch.weights[row];
            let sums = &scratch.sums[row * head_dim..(row + 1) * head_dim];
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = sum * share;
            }
        }
    }
}

#[cfg(test)]
mod tests;
