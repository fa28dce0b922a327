//! Attention over KV pages.
//!
//! One unit of work is a block of tokens of one sequence with one key head and all the query heads
//! that share it. It walks the sequence's pages once and keeps, for each of its rows (token × query
//! head), the largest score so far, the sum of weights and the weighted sum of values (online
//! softmax, Milakov and Gimelshein, <https://arxiv.org/abs/1805.02867>). So no score matrix is
//! stored, and each page is read once for all rows.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use half::f16;

use super::parallel::{SharedOut, for_uneven_pieces};
use super::simd::{Lanes, Level, dispatch};
use crate::layout::{KvShape, LayerPages, PAGE_TOKENS, Spans};

/// Rows per unit of work: enough to pay for reading a page, few enough to stay in the cache.
const BLOCK_ROWS: usize = 64;

/// The most rows whose scores are computed side by side; they share each key and value that is
/// loaded.
const SIDE_BY_SIDE: usize = 4;

/// How many rows are computed side by side in a unit of `rows` rows.
fn rows_per_pass(rows: usize) -> usize {
    rows.next_power_of_two().min(SIDE_BY_SIDE)
}

/// A block of tokens of one sequence and one key head.
#[derive(Clone, Copy)]
struct Unit {
    sequence: usize,
    kv_head: usize,
    /// Index of the block's first token in the batch, and how many tokens the block has.
    row: usize,
    tokens: usize,
    /// Position of the block's first token in its sequence.
    position: usize,
}

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

/// Cuts the batch into units and sorts them by the tokens they attend to, most first, so that no
/// thread is left with a long unit at the end.
fn cut(spans: Spans<'_>, group: usize, kv_heads: usize, units: &mut Vec<Unit>) {
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

/// Returns one page of one head: as stored if `as_stored`, else widened to f32 in `scratch`.
fn page_of<'a>(
    level: Level,
    pages: LayerPages<'a>,
    range: Range<usize>,
    as_stored: bool,
    scratch: &'a mut Vec<f32>,
) -> LayerPages<'a> {
    match pages {
        LayerPages::F32(numbers) => LayerPages::F32(&numbers[range]),
        LayerPages::F16(numbers) if as_stored => LayerPages::F16(&numbers[range]),
        LayerPages::F16(numbers) => {
            scratch.resize(range.len(), 0.0);
            widen(level, &numbers[range], scratch);
            LayerPages::F32(scratch)
        }
    }
}

/// The type of a number in a page: f32 or f16.
trait Stored: Copy {
    /// Loads `L::N` numbers as f32.
    ///
    /// # Safety
    /// The machine has the instructions of `L`, and `from` points to `L::N` numbers.
    unsafe fn load<L: Lanes>(from: *const Self) -> L;
}

impl Stored for f32 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const Self) -> L {
        // SAFETY: see the trait.
        unsafe { L::load(from) }
    }
}

impl Stored for f16 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const Self) -> L {
        // SAFETY: see the trait.
        unsafe { L::load_halves(from) }
    }
}

dispatch!(fn widen = widen_kernel(from: &[f16], to: &mut [f32]));
#[inline(always)]
unsafe fn widen_kernel<L: Lanes>(from: &[f16], to: &mut [f32]) {
    assert!(from.len() == to.len() && from.len().is_multiple_of(L::N));
    for at in (0..from.len()).step_by(L::N) {
        // SAFETY: both slices have the same length, a multiple of `N`.
        unsafe { L::load_halves(from.as_ptr().add(at)).store(to.as_mut_ptr().add(at)) };
    }
}

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

/// How a page relates to the rows of a unit.
struct PageState {
    head_dim: usize,
    /// Tokens of the page that belong to the sequence.
    filled: usize,
    /// How many of the page's tokens the unit's first token attends to (negative before the page);
    /// each later token attends to one more.
    position: isize,
    group: usize,
    rows: usize,
}

dispatch!(
    /// Updates the online softmax of all rows with one page of f32.
    fn mix_page = mix_page_kernel(
        state: &PageState,
        keys: &[f32],
        values: &[f32],
        q: &[f32],
        scores: &mut [f32],
        sums: &mut [f32],
        largest: &mut [f32],
        weights: &mut [f32],
    )
);
dispatch!(
    /// The same with a page of f16, which is widened as it is read: faster with few rows.
    fn mix_half_page = mix_page_kernel(
        state: &PageState,
        keys: &[f16],
        values: &[f16],
        q: &[f32],
        scores: &mut [f32],
        sums: &mut [f32],
        largest: &mut [f32],
        weights: &mut [f32],
    )
);

#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn mix_page_kernel<L: Lanes>(
    state: &PageState,
    keys: &[impl Stored],
    values: &[impl Stored],
    q: &[f32],
    scores: &mut [f32],
    sums: &mut [f32],
    largest: &mut [f32],
    weights: &mut [f32],
) {
    // SAFETY: `dispatch!` has checked the instructions; `mix_page_rows` checks the lengths.
    unsafe {
        match rows_per_pass(state.rows) {
            1 => mix_page_rows::<L, 1>(state, keys, values, q, scores, sums, largest, weights),
            2 => mix_page_rows::<L, 2>(state, keys, values, q, scores, sums, largest, weights),
            _ => mix_page_rows::<L, SIDE_BY_SIDE>(
                state, keys, values, q, scores, sums, largest, weights,
            ),
        }
    }
}

/// Computes `R` rows at a time. The result of a row does not depend on `R`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn mix_page_rows<L: Lanes, const R: usize>(
    state: &PageState,
    keys: &[impl Stored],
    values: &[impl Stored],
    q: &[f32],
    scores: &mut [f32],
    sums: &mut [f32],
    largest: &mut [f32],
    weights: &mut [f32],
) {
    let dim = state.head_dim;
    let padded = state.rows.next_multiple_of(R);
    assert!(
        dim.is_multiple_of(L::N) && PAGE_TOKENS.is_multiple_of(L::N) && state.filled <= PAGE_TOKENS
    );
    assert!(keys.len() == PAGE_TOKENS * dim && values.len() == PAGE_TOKENS * dim);
    assert!(q.len() == padded * dim && sums.len() == padded * dim);
    assert!(scores.len() >= padded * PAGE_TOKENS);
    assert!(largest.len() == padded && weights.len() == padded);
    for row in (0..padded).step_by(R) {
        // SAFETY: the lengths are as asserted, `row + R <= padded`, and every load and store is of
        // `N` numbers at a multiple of `N` inside a row.
        unsafe {
            let q = q.as_ptr().add(row * dim);
            score_rows::<L, R>(dim, keys, q, &mut scores[row * PAGE_TOKENS..]);
            for row in row..row + R {
                // Padding rows attend to what the last real row attends to.
                let token = (row.min(state.rows - 1) / state.group) as isize;
                let seen = (state.position + token).clamp(0, state.filled as isize) as usize;
                let scores = &mut scores[row * PAGE_TOKENS..(row + 1) * PAGE_TOKENS];
                let sums = &mut sums[row * dim..(row + 1) * dim];
                scores_to_weights::<L>(seen, scores, sums, &mut largest[row], &mut weights[row]);
            }
            let sums = sums.as_mut_ptr().add(row * dim);
            let scores = &scores[row * PAGE_TOKENS..];
            // As many accumulators as the registers hold: with fewer rows, more vectors of a value.
            match (L::N, R) {
                (16, 1 | 2) => add_values::<L, R, 8>(dim, state.filled, values, scores, sums),
                (16, _) | (_, 1 | 2) => {
                    add_values::<L, R, 4>(dim, state.filled, values, scores, sums);
                }
                _ => add_values::<L, R, 2>(dim, state.filled, values, scores, sums),
            }
        }
    }
}

/// Computes the scores of `R` rows with all tokens of a page: `q` is `[R, dim]`, `keys`
/// `[dim, PAGE_TOKENS]`, `scores` `[R, PAGE_TOKENS]`.
#[inline(always)]
unsafe fn score_rows<L: Lanes, const R: usize>(
    dim: usize,
    keys: &[impl Stored],
    q: *const f32,
    scores: &mut [f32],
) {
    // SAFETY: see the caller.
    unsafe {
        // Two vectors of tokens at a time: with four rows that fills eight accumulators.
        let width = if PAGE_TOKENS.is_multiple_of(2 * L::N) { 2 * L::N } else { L::N };
        for at in (0..PAGE_TOKENS).step_by(width) {
            let second = if width == 2 * L::N { L::N } else { 0 };
            let mut sums = [[L::splat(0.0); 2]; R];
            for d in 0..dim {
                let key = keys.as_ptr().add(d * PAGE_TOKENS + at);
                let key = [Stored::load::<L>(key), Stored::load::<L>(key.add(second))];
                for (row, sums) in sums.iter_mut().enumerate() {
                    let q = L::splat(*q.add(row * dim + d));
                    sums[0] = q.mul_add(key[0], sums[0]);
                    sums[1] = q.mul_add(key[1], sums[1]);
                }
            }
            for (row, sums) in sums.iter().enumerate() {
                let to = scores.as_mut_ptr().add(row * PAGE_TOKENS + at);
                sums[0].store(to);
                sums[1].store(to.add(second));
            }
        }
    }
}

/// Turns a row's scores into weights relative to the largest score so far. If a larger one is
/// found, the earlier sums are scaled down. A row that sees none of the page's tokens stays
/// unchanged.
#[inline(always)]
unsafe fn scores_to_weights<L: Lanes>(
    seen: usize,
    scores: &mut [f32],
    sums: &mut [f32],
    largest: &mut f32,
    weights: &mut f32,
) {
    if seen == 0 {
        scores.fill(0.0);
        return;
    }
    if seen < PAGE_TOKENS {
        scores[seen..].fill(f32::NEG_INFINITY);
    }
    // SAFETY: see the caller.
    unsafe {
        let mut most = L::splat(*largest);
        for at in (0..PAGE_TOKENS).step_by(L::N) {
            most = most.max(L::load(scores.as_ptr().add(at)));
        }
        let most = most.largest();
        let mut sum = L::splat(0.0);
        for at in (0..PAGE_TOKENS).step_by(L::N) {
            let score = L::load(scores.as_ptr().add(at)).add(L::splat(-most));
            let weight = score.exp();
            weight.store(scores.as_mut_ptr().add(at));
            sum = sum.add(weight);
        }
        // `exp` never quite reaches zero. In a sum of at least 1 the rest is lost, but tokens that
        // are not seen must have a weight of exactly zero.
        if seen < PAGE_TOKENS {
            scores[seen..].fill(0.0);
        }
        if most > *largest {
            let shrink = if *largest == f32::NEG_INFINITY { 0.0 } else { (*largest - most).exp() };
            *weights *= shrink;
            for at in (0..sums.len()).step_by(L::N) {
                let sum = sums.as_mut_ptr().add(at);
                L::load(sum).mul(L::splat(shrink)).store(sum);
            }
            *largest = most;
        }
        *weights += sum.sum();
    }
}

/// Adds a page's weighted values to the sums of `R` rows, `V` vectors of each at a time: `values`
/// is `[PAGE_TOKENS, dim]`, `weights` `[R, PAGE_TOKENS]`, `sums` `[R, dim]`.
#[inline(always)]
unsafe fn add_values<L: Lanes, const R: usize, const V: usize>(
    dim: usize,
    filled: usize,
    values: &[impl Stored],
    weights: &[f32],
    sums: *mut f32,
) {
    // SAFETY: see the caller.
    unsafe {
        let mut at = 0;
        while at + V * L::N <= dim {
            add_piece::<L, R, V>(dim, filled, at, values, weights, sums);
            at += V * L::N;
        }
        while at < dim {
            add_piece::<L, R, 1>(dim, filled, at, values, weights, sums);
            at += L::N;
        }
    }
}

/// Adds `V` vectors of each value, from number `at` on.
#[inline(always)]
unsafe fn add_piece<L: Lanes, const R: usize, const V: usize>(
    dim: usize,
    filled: usize,
    at: usize,
    values: &[impl Stored],
    weights: &[f32],
    sums: *mut f32,
) {
    // SAFETY: see the caller.
    unsafe {
        let mut totals = [[L::splat(0.0); V]; R];
        for token in 0..filled {
            let value = values.as_ptr().add(token * dim + at);
            let mut weight = [L::splat(0.0); R];
            for (row, weight) in weight.iter_mut().enumerate() {
                *weight = L::splat(*weights.as_ptr().add(row * PAGE_TOKENS + token));
            }
            for vector in 0..V {
                let value = Stored::load::<L>(value.add(vector * L::N));
                for (totals, weight) in totals.iter_mut().zip(weight) {
                    totals[vector] = weight.mul_add(value, totals[vector]);
                }
            }
        }
        for (row, totals) in totals.iter().enumerate() {
            for (vector, total) in totals.iter().enumerate() {
                let to = sums.add(row * dim + at + vector * L::N);
                L::load(to).add(*total).store(to);
            }
        }
    }
}

#[cfg(test)]
mod tests;
