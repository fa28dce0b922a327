//! Decay and rate of each value head, and the lengths of queries and keys.

use super::super::parallel::{SharedOut, for_pieces};
use super::super::simd::{Lanes, Level, dispatch};

/// The number that is added to the square of a length, as in transformers.
const EPSILON: f32 = 1e-6;

/// Replaces `alpha` by the factor of the memory, `exp(decay · softplus(alpha + bias))`, and `beta` by its sigmoid. Both
/// are `[rows, heads]`; `decay` and `bias` are `[heads]`.
pub(crate) fn decay_and_rate(alpha: &mut [f32], beta: &mut [f32], decay: &[f32], bias: &[f32]) {
    let heads = decay.len();
    for (alpha, beta) in alpha.chunks_exact_mut(heads).zip(beta.chunks_exact_mut(heads)) {
        for (head, alpha) in alpha.iter_mut().enumerate() {
            let x = *alpha + bias[head];
            let softplus = if x > 20.0 { x } else { x.exp().ln_1p() };
            *alpha = (decay[head] * softplus).exp();
        }
        beta.iter_mut().for_each(|beta| *beta = 1.0 / (1.0 + (-*beta).exp()));
    }
}

/// Scales the queries and keys of `x` `[rows, width]` to the length 1, and queries by `1 / sqrt(dim)`. A row begins with
/// `heads` queries and as many keys of `dim` numbers.
pub(crate) fn normalize_keys(x: &mut [f32], width: usize, heads: usize, dim: usize) {
    let level = Level::best_for(&[dim]);
    let rows = x.len() / width;
    let scale = 1.0 / (dim as f32).sqrt();
    let shared = SharedOut::new(x);
    for_pieces(rows, 2 * rows * heads * dim, |rows| {
        for row in rows {
            // SAFETY: every row is written by one thread.
            let row = unsafe { shared.part(row * width..row * width + 2 * heads * dim) };
            for (head, x) in row.chunks_exact_mut(dim).enumerate() {
                normalize(level, x, if head < heads { scale } else { 1.0 });
            }
        }
    });
}

dispatch!(fn normalize = normalize_kernel(x: &mut [f32], scale: f32));
#[inline(always)]
unsafe fn normalize_kernel<L: Lanes>(x: &mut [f32], scale: f32) {
    let len = x.len();
    assert!(len.is_multiple_of(L::N));
    // SAFETY: `x` has `len` numbers, a multiple of `N`.
    unsafe {
        let mut squares = L::splat(0.0);
        for at in (0..len).step_by(L::N) {
            let x = L::load(x.as_ptr().add(at));
            squares = x.mul_add(x, squares);
        }
        let factor = L::splat(scale / (squares.sum() + EPSILON).sqrt());
        for at in (0..len).step_by(L::N) {
            L::load(x.as_ptr().add(at)).mul(factor).store(x.as_mut_ptr().add(at));
        }
    }
}
