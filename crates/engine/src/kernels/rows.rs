//! Kernels that work on rows: RMS norm, SwiGLU, rotary embedding, bias.

use super::parallel::{SharedOut, for_pieces};
use super::simd::{Lanes, Level, dispatch};

/// Computes `out = x / sqrt(mean(x²) + eps) * weight` for every row (RMSNorm). `x` and `out` are
/// `[rows, weight.len()]`.
pub(crate) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let len = weight.len();
    let level = Level::best_for(&[len]);
    let shared = SharedOut::new(out);
    for_pieces(x.len() / len, x.len(), |rows| {
        for row in rows {
            let range = row * len..(row + 1) * len;
            // SAFETY: every row is written by one thread.
            let out = unsafe { shared.part(range.clone()) };
            norm_row(level, &x[range], weight, eps, out);
        }
    });
}

/// Computes `x += y`, then `normed = rms_norm(x)`. All three are `[rows, weight.len()]`.
pub(crate) fn add_rms_norm(x: &mut [f32], y: &[f32], weight: &[f32], eps: f32, normed: &mut [f32]) {
    let len = weight.len();
    let level = Level::best_for(&[len]);
    let rows = x.len() / len;
    let (x, normed) = (SharedOut::new(x), SharedOut::new(normed));
    for_pieces(rows, rows * len, |rows| {
        for row in rows {
            let range = row * len..(row + 1) * len;
            // SAFETY: every row is written by one thread.
            let (x, normed) = unsafe { (x.part(range.clone()), normed.part(range.clone())) };
            add_row(level, x, &y[range]);
            norm_row(level, x, weight, eps, normed);
        }
    });
}

/// Computes `x += y`. Both have the same length.
pub(crate) fn add(x: &mut [f32], y: &[f32]) {
    add_row(Level::best_for(&[x.len()]), x, y);
}

/// Computes `gate = silu(gate) * up`, where `silu(x) = x / (1 + exp(-x))`. Both have the same
/// length.
pub(crate) fn swiglu(gate: &mut [f32], up: &[f32]) {
    const PIECE: usize = 4096;
    let len = gate.len();
    let level = Level::best_for(&[PIECE, len % PIECE]);
    let shared = SharedOut::new(gate);
    for_pieces(len.div_ceil(PIECE), len * 2, |pieces| {
        for piece in pieces {
            let range = piece * PIECE..((piece + 1) * PIECE).min(len);
            // SAFETY: every piece is written by one thread.
            let gate = unsafe { shared.part(range.clone()) };
            swiglu_piece(level, gate, &up[range]);
        }
    });
}

/// For every head of every token: applies RMSNorm if `norm` has a weight `[head_dim]` and eps, then
/// the rotary embedding, which rotates the pairs `(i, i + half)` by the token's angles and leaves
/// the numbers after `2 * half`. `x` is `[tokens, heads, head_dim]`, `cos` and `sin` are
/// `[tokens, half]`.
pub(crate) fn norm_and_turn(
    x: &mut [f32],
    (heads, head_dim): (usize, usize),
    norm: Option<(&[f32], f32)>,
    cos: &[f32],
    sin: &[f32],
    half: usize,
) {
    let token_len = heads * head_dim;
    let level = Level::best_for(&[half, head_dim]);
    let len = x.len();
    let shared = SharedOut::new(x);
    for_pieces(len / token_len, len, |tokens| {
        for token in tokens {
            let (cos, sin) =
                (&cos[token * half..(token + 1) * half], &sin[token * half..(token + 1) * half]);
            // SAFETY: every token is written by one thread.
            let token = unsafe { shared.part(token * token_len..(token + 1) * token_len) };
            for head in token.chunks_exact_mut(head_dim) {
                if let Some((weight, eps)) = norm {
                    norm_in_place(level, head, weight, eps);
                }
                rotate_head(level, &mut head[..2 * half], cos, sin);
            }
        }
    });
}

/// Adds `bias` to every row: `x` is `[rows, bias.len()]`.
pub(crate) fn add_bias(x: &mut [f32], bias: &[f32]) {
    let len = bias.len();
    let level = Level::best_for(&[len]);
    let (rows, numbers) = (x.len() / len, x.len());
    let shared = SharedOut::new(x);
    for_pieces(rows, numbers, |rows| {
        for row in rows {
            // SAFETY: every row is written by one thread.
            add_row(level, unsafe { shared.part(row * len..(row + 1) * len) }, bias);
        }
    });
}

dispatch!(fn norm_row = norm_kernel(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]));
#[inline(always)]
unsafe fn norm_kernel<L: Lanes>(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let len = x.len();
    assert!(weight.len() == len && out.len() == len && len.is_multiple_of(L::N));
    // SAFETY: all three have `len` numbers, a multiple of `N`.
    unsafe { norm::<L>(x.as_ptr(), weight, eps, out.as_mut_ptr()) }
}

dispatch!(fn norm_in_place = norm_in_place_kernel(x: &mut [f32], weight: &[f32], eps: f32));
#[inline(always)]
unsafe fn norm_in_place_kernel<L: Lanes>(x: &mut [f32], weight: &[f32], eps: f32) {
    assert!(weight.len() == x.len() && x.len().is_multiple_of(L::N));
    let x = x.as_mut_ptr();
    // SAFETY: both have the same length, a multiple of `N`.
    unsafe { norm::<L>(x, weight, eps, x) }
}

/// Normalizes one row.
///
/// # Safety
/// `x` and `out` point to `weight.len()` numbers, a multiple of `N`. They may be equal: each place
/// of `x` is read before that of `out` is written.
#[inline(always)]
unsafe fn norm<L: Lanes>(x: *const f32, weight: &[f32], eps: f32, out: *mut f32) {
    let len = weight.len();
    // SAFETY: see above.
    unsafe {
        let mut squares = L::splat(0.0);
        for at in (0..len).step_by(L::N) {
            let x = L::load(x.add(at));
            squares = x.mul_add(x, squares);
        }
        let scale = L::splat(1.0 / (squares.sum() / len as f32 + eps).sqrt());
        for at in (0..len).step_by(L::N) {
            let normed = L::load(x.add(at)).mul(scale);
            normed.mul(L::load(weight.as_ptr().add(at))).store(out.add(at));
        }
    }
}

dispatch!(pub(super) fn add_row = add_kernel(x: &mut [f32], y: &[f32]));
#[inline(always)]
unsafe fn add_kernel<L: Lanes>(x: &mut [f32], y: &[f32]) {
    let len = x.len();
    assert!(y.len() == len && len.is_multiple_of(L::N));
    for at in (0..len).step_by(L::N) {
        // SAFETY: both have `len` numbers, a multiple of `N`.
        unsafe {
            let sum = L::load(x.as_ptr().add(at)).add(L::load(y.as_ptr().add(at)));
            sum.store(x.as_mut_ptr().add(at));
        }
    }
}

dispatch!(fn swiglu_piece = swiglu_kernel(gate: &mut [f32], up: &[f32]));
#[inline(always)]
unsafe fn swiglu_kernel<L: Lanes>(gate: &mut [f32], up: &[f32]) {
    let len = gate.len();
    assert!(up.len() == len && len.is_multiple_of(L::N));
    for at in (0..len).step_by(L::N) {
        // SAFETY: both have `len` numbers, a multiple of `N`.
        unsafe {
            let silu = L::load(gate.as_ptr().add(at));
            let up = L::load(up.as_ptr().add(at));
            let below = silu.mul(L::splat(-1.0)).exp().add(L::splat(1.0));
            silu.div(below).mul(up).store(gate.as_mut_ptr().add(at));
        }
    }
}

dispatch!(fn rotate_head = rotate_kernel(head: &mut [f32], cos: &[f32], sin: &[f32]));
#[inline(always)]
unsafe fn rotate_kernel<L: Lanes>(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let half = cos.len();
    assert!(head.len() == 2 * half && sin.len() == half && half.is_multiple_of(L::N));
    for at in (0..half).step_by(L::N) {
        // SAFETY: `head` has two halves of `half` numbers, a multiple of `N`.
        unsafe {
            let (low, high) = (head.as_mut_ptr().add(at), head.as_mut_ptr().add(half + at));
            let (a, b) = (L::load(low), L::load(high));
            let (cos, sin) = (L::load(cos.as_ptr().add(at)), L::load(sin.as_ptr().add(at)));
            a.mul_add(cos, b.mul(sin).mul(L::splat(-1.0))).store(low);
            b.mul_add(cos, a.mul(sin)).store(high);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(len: usize, seed: u32) -> Vec<f32> {
        (0..len as u32)
            .map(|n| ((n.wrapping_mul(2_654_435_761).wrapping_add(seed * 977)) >> 8) as f32)
            .map(|n| n / (1 << 22) as f32 - 2.0)
            .collect()
    }

    fn close(a: &[f32], b: &[f32], what: &str) {
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() <= 2e-6 * b.abs().max(1.0), "{what}: {a} is not {b}");
        }
    }

    #[test]
    fn rms_norms_and_residual_sums_match_the_formula() {
        for len in [7, 16, 24, 128] {
            let (x, y, weight) = (numbers(len * 3, 1), numbers(len * 3, 2), numbers(len, 3));
            let norm = |row: &[f32]| -> Vec<f32> {
                let squares: f64 = row.iter().map(|x| f64::from(*x).powi(2)).sum();
                let scale = 1.0 / (squares / len as f64 + 1e-6).sqrt();
                row.iter().zip(&weight).map(|(x, w)| (f64::from(*x) * scale) as f32 * w).collect()
            };
            let sums: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x + y).collect();
            let expected: Vec<f32> = sums.chunks(len).flat_map(norm).collect();
            let (mut sum, mut normed) = (x, vec![0.0; len * 3]);
            add_rms_norm(&mut sum, &y, &weight, 1e-6, &mut normed);
            close(&sum, &sums, "sum");
            close(&normed, &expected, "norm of the sum");
            rms_norm(&sums, &weight, 1e-6, &mut normed);
            close(&normed, &expected, "norm");
            for level in Level::all_for(len) {
                let mut row = vec![0.0; len];
                norm_row(level, &sums[..len], &weight, 1e-6, &mut row);
                close(&row, &expected[..len], "norm of a row");
                row.copy_from_slice(&sums[..len]);
                norm_in_place(level, &mut row, &weight, 1e-6);
                close(&row, &expected[..len], "norm in place");
            }
        }
    }

    #[test]
    fn swiglu_matches_the_formula() {
        for len in [5, 48, 4096 * 2 + 32, 4096 + 3] {
            let (mut gate, up) = (numbers(len, 4), numbers(len, 5));
            gate[0] = 200.0;
            gate[1] = -200.0;
            let expected: Vec<f32> =
                gate.iter().zip(&up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
            let mut out = gate.clone();
            swiglu(&mut out, &up);
            close(&out, &expected, "swiglu");
            for level in Level::all_for(len) {
                out.copy_from_slice(&gate);
                swiglu_piece(level, &mut out, &up);
                close(&out, &expected, "swiglu piece");
            }
        }
    }

    #[test]
    fn numbers_after_the_rotated_ones_are_only_normalised() {
        for (half, head_dim) in [(4, 32), (3, 7), (32, 256)] {
            let (x, weight) = (numbers(3 * 2 * head_dim, 6), numbers(head_dim, 9));
            let (cos, sin) = (numbers(3 * half, 7), numbers(3 * half, 8));
            let mut normed = x.clone();
            let whole = norm_and_turn;
            whole(
                &mut normed,
                (2, head_dim),
                Some((&weight, 1e-6)),
                &vec![1.0; 3 * half],
                &vec![0.0; 3 * half],
                half,
            );
            let mut out = x.clone();
            norm_and_turn(&mut out, (2, head_dim), Some((&weight, 1e-6)), &cos, &sin, half);
            for (index, (out, normed)) in
                out.chunks(head_dim).zip(normed.chunks(head_dim)).enumerate()
            {
                close(&out[2 * half..], &normed[2 * half..], "rest");
                let (c, s) = (cos[index / 2 * half], sin[index / 2 * half]);
                close(&out[..1], &[normed[0] * c - normed[half] * s], "rotated");
            }
        }
    }

    #[test]
    fn rotary_pairs_are_half_a_head_apart() {
        for half in [3, 8, 16, 64] {
            let (heads, tokens) = (2, 3);
            let x = numbers(tokens * heads * half * 2, 6);
            let (cos, sin) = (numbers(tokens * half, 7), numbers(tokens * half, 8));
            let mut expected = x.clone();
            for (index, head) in expected.chunks_mut(half * 2).enumerate() {
                for i in 0..half {
                    let (c, s) = (cos[index / heads * half + i], sin[index / heads * half + i]);
                    let (a, b) = (head[i], head[half + i]);
                    head[i] = a * c - b * s;
                    head[half + i] = b * c + a * s;
                }
            }
            let mut out = x;
            norm_and_turn(&mut out, (heads, 2 * half), None, &cos, &sin, half);
            close(&out, &expected, "rotary embedding");
        }
    }

    /// Rows with extreme values, in every place and in one: zeros, subnormals, the largest numbers,
    /// infinities, NaN.
    fn extremes(len: usize) -> Vec<Vec<f32>> {
        let subnormal = f32::from_bits(1);
        let fills: [fn(usize) -> f32; 3] =
            [|_| 0.0, |at| if at % 2 == 0 { 0.0 } else { -0.0 }, |at| at as f32 * 1e-3 - 1.0];
        let mut all: Vec<Vec<f32>> =
            fills.into_iter().map(|fill| (0..len).map(fill).collect()).collect();
        for extreme in [
            subnormal,
            -subnormal,
            f32::MIN_POSITIVE,
            1e18,
            f32::MAX,
            f32::MIN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
        ] {
            all.push(vec![extreme; len]);
            let mut one = numbers(len, 9);
            one[len / 2] = extreme;
            all.push(one);
        }
        all
    }

    /// Asserts that both are not finite, or equal within rounding. Infinity and NaN count as equal:
    /// the twin rounds between product and sum, and may overflow there, which makes the sum NaN.
    fn alike(a: &[f32], twin: &[f32], what: &str) {
        assert_eq!(a.len(), twin.len());
        for (a, twin) in a.iter().zip(twin) {
            let same = a == twin
                || !a.is_finite() && !twin.is_finite()
                || (a - twin).abs() <= 2e-6 * twin.abs().max(1.0);
            assert!(same, "{what}: {a:e} is not {twin:e}");
        }
    }

    #[test]
    fn every_simd_level_matches_the_scalar_twin_on_extreme_values() {
        const LEN: usize = 64;
        let weight = numbers(LEN, 3);
        for (index, x) in extremes(LEN).iter().enumerate() {
            // Also non-finite results must agree: no level may hide what the twin shows.
            for y in [&weight, x] {
                let run = |level: Level| {
                    let (mut normed, mut in_place) = (vec![7.0; LEN], x.clone());
                    let (mut sum, mut gated, mut turned) = (x.clone(), x.clone(), x.clone());
                    norm_row(level, x, &weight, 1e-6, &mut normed);
                    norm_in_place(level, &mut in_place, &weight, 1e-6);
                    add_row(level, &mut sum, y);
                    swiglu_piece(level, &mut gated, y);
                    let (cos, sin) = weight.split_at(LEN / 2);
                    rotate_head(level, &mut turned, cos, sin);
                    [normed, in_place, sum, gated, turned]
                };
                let twin = run(Level::Scalar);
                for level in Level::all_for(LEN / 2) {
                    for (kernel, (out, twin)) in run(level).iter().zip(&twin).enumerate() {
                        alike(out, twin, &format!("{level:?}, kernel {kernel}, case {index}"));
                    }
                }
            }
        }
    }
}
