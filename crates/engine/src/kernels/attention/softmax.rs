//! The kernels: update the online softmax of a unit's rows with one page.

use half::f16;

use super::page::Stored;
use crate::kernels::simd::{Lanes, dispatch};
use crate::layout::PAGE_TOKENS;

/// The most rows whose scores are computed side by side; they share each key and value that is
/// loaded.
pub(super) const SIDE_BY_SIDE: usize = 4;

/// Returns how many rows are computed side by side in a unit of `rows` rows.
pub(super) fn rows_per_pass(rows: usize) -> usize {
    rows.next_power_of_two().min(SIDE_BY_SIDE)
}

/// The relation of a page to the rows of a unit.
pub(super) struct PageState {
    pub(super) head_dim: usize,
    /// Tokens of the page that belong to the sequence.
    pub(super) filled: usize,
    /// The number of the page's tokens that the unit's first token attends to (negative before the page);
    /// each later token attends to one more.
    pub(super) position: isize,
    pub(super) group: usize,
    pub(super) rows: usize,
}

dispatch!(
    /// Updates the online softmax of all rows with one page of f32.
    pub(super) fn mix_page = mix_page_kernel(
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
    pub(super) fn mix_half_page = mix_page_kernel(
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
