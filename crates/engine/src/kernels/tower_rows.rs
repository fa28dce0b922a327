//! Kernels on rows that only vision towers need: LayerNorm, GELU, sums of many rows.

use super::parallel::{SharedOut, for_pieces};
use super::rows::add_row;
use super::simd::{Lanes, Level, dispatch};

/// Numbers that a thread processes at once.
const PIECE: usize = 4096;

/// Twice the root of 2 / π, the factor of GELU's approximation by tanh.
const TWICE_ROOT: f32 = std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::SQRT_2;

/// An activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// `x / (1 + exp(-1.702 x))`
    QuickGelu,
    /// GELU with the approximation by tanh.
    TanhGelu,
    /// GELU with the error function.
    ErfGelu,
    /// `x / (1 + exp(-x))`
    Silu,
}

/// Computes `out = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias` for every row (LayerNorm). `x` and `out` are
/// `[rows, weight.len()]`.
pub(crate) fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    let len = weight.len();
    let level = Level::best_for(&[len]);
    let shared = SharedOut::new(out);
    for_pieces(x.len() / len, x.len() * 2, |rows| {
        for row in rows {
            let range = row * len..(row + 1) * len;
            // SAFETY: every row is written by one thread.
            let out = unsafe { shared.part(range.clone()) };
            layer_norm_row(level, &x[range], weight, bias, eps, out);
        }
    });
}

/// Applies an activation function to each number.
pub(crate) fn activate(x: &mut [f32], activation: Activation) {
    let len = x.len();
    let level = Level::best_for(&[PIECE, len % PIECE]);
    let shared = SharedOut::new(x);
    for_pieces(len.div_ceil(PIECE), len * 4, |pieces| {
        for piece in pieces {
            // SAFETY: every piece is written by one thread.
            let x = unsafe { shared.part(piece * PIECE..((piece + 1) * PIECE).min(len)) };
            activate_piece(level, x, activation);
        }
    });
}

/// Computes `x += y` on all threads. Both have the same length.
pub(crate) fn add(x: &mut [f32], y: &[f32]) {
    let len = x.len();
    assert_eq!(len, y.len(), "sums of different lengths");
    let level = Level::best_for(&[PIECE, len % PIECE]);
    let shared = SharedOut::new(x);
    for_pieces(len.div_ceil(PIECE), len, |pieces| {
        for piece in pieces {
            let range = piece * PIECE..((piece + 1) * PIECE).min(len);
            // SAFETY: every piece is written by one thread.
            add_row(level, unsafe { shared.part(range.clone()) }, &y[range]);
        }
    });
}

dispatch!(fn layer_norm_row = layer_norm_kernel(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]));
#[inline(always)]
unsafe fn layer_norm_kernel<L: Lanes>(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    eps: f32,
    out: &mut [f32],
) {
    let len = x.len();
    assert!(weight.len() == len && bias.len() == len && out.len() == len);
    assert!(len.is_multiple_of(L::N));
    // SAFETY: all have `len` numbers, a multiple of `N`.
    unsafe {
        let mut sum = L::splat(0.0);
        for at in (0..len).step_by(L::N) {
            sum = sum.add(L::load(x.as_ptr().add(at)));
        }
        let minus_mean = L::splat(-(sum.sum() / len as f32));
        let mut squares = L::splat(0.0);
        for at in (0..len).step_by(L::N) {
            let centred = L::load(x.as_ptr().add(at)).add(minus_mean);
            squares = centred.mul_add(centred, squares);
        }
        let scale = L::splat(1.0 / (squares.sum() / len as f32 + eps).sqrt());
        for at in (0..len).step_by(L::N) {
            let normed = L::load(x.as_ptr().add(at)).add(minus_mean).mul(scale);
            let (weight, bias) = (L::load(weight.as_ptr().add(at)), L::load(bias.as_ptr().add(at)));
            normed.mul_add(weight, bias).store(out.as_mut_ptr().add(at));
        }
    }
}

dispatch!(fn activate_piece = activate_kernel(x: &mut [f32], activation: Activation));
#[inline(always)]
unsafe fn activate_kernel<L: Lanes>(x: &mut [f32], activation: Activation) {
    // SAFETY: the caller has the instructions.
    unsafe {
        match activation {
            Activation::QuickGelu => map::<L>(x, |x| times_sigmoid(x, x.mul(L::splat(1.702)))),
            Activation::Silu => map::<L>(x, |x| times_sigmoid(x, x)),
            // (1 + tanh(u)) / 2 is the sigmoid of 2 u.
            Activation::TanhGelu => map::<L>(x, |x| {
                let cubic = x.mul(x).mul_add(L::splat(0.044_715), L::splat(1.0));
                times_sigmoid(x, x.mul(cubic).mul(L::splat(TWICE_ROOT)))
            }),
            Activation::ErfGelu => map::<L>(x, |x| {
                let half = x.mul(L::splat(0.5));
                half.mul_add(erf(x.mul(L::splat(std::f32::consts::FRAC_1_SQRT_2))), half)
            }),
        }
    }
}

/// # Safety
/// The machine has the instructions of `L`.
#[inline(always)]
unsafe fn map<L: Lanes>(x: &mut [f32], function: impl Fn(L) -> L) {
    assert!(x.len().is_multiple_of(L::N));
    for chunk in x.chunks_exact_mut(L::N) {
        // SAFETY: a chunk has `N` numbers.
        unsafe { function(L::load(chunk.as_ptr())).store(chunk.as_mut_ptr()) };
    }
}

/// Returns `x / (1 + exp(-y))`.
#[inline(always)]
unsafe fn times_sigmoid<L: Lanes>(x: L, y: L) -> L {
    // SAFETY: the caller has the instructions.
    unsafe { x.div(y.mul(L::splat(-1.0)).exp().add(L::splat(1.0))) }
}

/// Returns the error function with an absolute error below 5e-7: Abramowitz and Stegun, formula 7.1.26.
#[inline(always)]
unsafe fn erf<L: Lanes>(x: L) -> L {
    // SAFETY: the caller has the instructions.
    unsafe {
        let magnitude = x.max(x.mul(L::splat(-1.0)));
        let t = L::splat(1.0).div(magnitude.mul_add(L::splat(0.327_591_1), L::splat(1.0)));
        let mut sum = L::splat(1.061_405_4);
        for coefficient in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
            sum = sum.mul_add(t, L::splat(coefficient));
        }
        let tail = sum.mul(t).mul(x.mul(x).mul(L::splat(-1.0)).exp());
        let positive = tail.mul_add(L::splat(-1.0), L::splat(1.0));
        // The sign of x: ±1, and 0 for numbers whose erf is 0 in f32.
        let sign = x.mul(L::splat(f32::MAX)).max(L::splat(-1.0)).min(L::splat(1.0));
        positive.mul(sign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(len: usize) -> Vec<f32> {
        (0..len).map(|n| ((n * 7919 % 2003) as f32 / 200.0) - 5.0).collect()
    }

    /// The error function by its series, in f64.
    fn erf_f64(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..120 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        (sum * 2.0 / std::f64::consts::PI.sqrt()).clamp(-1.0, 1.0)
    }

    #[test]
    fn activations_match_their_definitions_on_every_level() {
        let x = numbers(480);
        for activation in
            [Activation::QuickGelu, Activation::TanhGelu, Activation::ErfGelu, Activation::Silu]
        {
            let twin = |x: f32| {
                let x = f64::from(x);
                let root = (2.0 / std::f64::consts::PI).sqrt();
                match activation {
                    Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
                    Activation::TanhGelu => {
                        0.5 * x * (1.0 + (root * (x + 0.044715 * x.powi(3))).tanh())
                    }
                    Activation::ErfGelu => 0.5 * x * (1.0 + erf_f64(x / 2f64.sqrt())),
                    Activation::Silu => x / (1.0 + (-x).exp()),
                }
            };
            for level in Level::all_for(x.len()) {
                let mut ours = x.clone();
                activate_piece(level, &mut ours, activation);
                for (x, ours) in x.iter().zip(&ours) {
                    let off = (f64::from(*ours) - twin(*x)).abs();
                    assert!(off < 3e-6, "{level:?} {activation:?}({x}): off by {off}");
                }
            }
            let mut ours = [0.0, -0.0, 1e-30, -60.0, 60.0];
            activate(&mut ours, activation);
            assert!(ours[..4].iter().all(|y| y.abs() < 1e-6) && ours[4] == 60.0, "{ours:?}");
        }
    }

    #[test]
    fn layer_norm_matches_its_definition_on_every_level() {
        let (x, weight, bias) = (numbers(96), numbers(48), numbers(144)[96..].to_vec());
        for level in Level::all_for(48) {
            for x in x.chunks(48) {
                let mean = x.iter().sum::<f32>() / 48.0;
                let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 48.0;
                let mut out = vec![0.0; 48];
                layer_norm_row(level, x, &weight, &bias, 0.5, &mut out);
                for at in 0..48 {
                    let twin = (x[at] - mean) / (variance + 0.5).sqrt() * weight[at] + bias[at];
                    assert!((out[at] - twin).abs() < 1e-5, "{level:?}: {} {twin}", out[at]);
                }
            }
        }
    }

    #[test]
    fn sums_of_any_length_are_complete() {
        for len in [0, 1, 4095, 4096, 10_001, 200_000] {
            let mut x = vec![1.0; len];
            add(&mut x, &vec![2.0; len]);
            assert!(x.iter().all(|x| *x == 3.0));
        }
    }
}
