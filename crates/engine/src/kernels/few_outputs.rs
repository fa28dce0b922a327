//! Products with small f32 matrices: a router's or a gate's. They are not quantized, since a small
//! error can change which expert is chosen.

use super::parallel::{SharedOut, for_pieces};
use super::simd::{Lanes, Level, dispatch};

/// Outputs that are computed side by side; they share each number of `x` that is loaded.
const SIDE_BY_SIDE: usize = 4;

/// Computes `out = x · weightᵀ`: `x` is `[rows, inputs]`, `weight` `[outputs, inputs]`, `out`
/// `[rows, outputs]`, all f32. A row's result does not depend on the other rows.
pub(crate) fn multiply(x: &[f32], weight: &[f32], inputs: usize, out: &mut [f32]) {
    let (rows, outputs) = (x.len() / inputs, weight.len() / inputs);
    assert!(x.len() == rows * inputs && weight.len() == outputs * inputs);
    assert!(out.len() == rows * outputs, "a product of another size");
    let level = Level::best_for(&[inputs]);
    let out = SharedOut::new(out);
    for_pieces(rows, rows * outputs * inputs / 16, |rows| {
        for row in rows {
            // SAFETY: each row is written by one thread.
            let out = unsafe { out.part(row * outputs..(row + 1) * outputs) };
            multiply_row(level, &x[row * inputs..(row + 1) * inputs], weight, out);
        }
    });
}

dispatch!(fn multiply_row = multiply_row_kernel(x: &[f32], weight: &[f32], out: &mut [f32]));
#[inline(always)]
unsafe fn multiply_row_kernel<L: Lanes>(x: &[f32], weight: &[f32], out: &mut [f32]) {
    let inputs = x.len();
    assert!(inputs.is_multiple_of(L::N) && weight.len() == inputs * out.len());
    let mut weights = weight.chunks_exact(inputs * SIDE_BY_SIDE);
    let mut outs = out.chunks_exact_mut(SIDE_BY_SIDE);
    for (weight, out) in (&mut weights).zip(&mut outs) {
        // SAFETY: `weight` has `SIDE_BY_SIDE` rows of `inputs` numbers, a multiple of `N`.
        out.copy_from_slice(&unsafe { dots::<L, SIDE_BY_SIDE>(x, weight) });
    }
    for (weight, out) in weights.remainder().chunks_exact(inputs).zip(outs.into_remainder()) {
        // SAFETY: as above, one row.
        [*out] = unsafe { dots::<L, 1>(x, weight) };
    }
}

/// Returns the dot products of `x` with the `ROWS` rows of `weight`.
///
/// # Safety
/// The machine has the instructions of `L`; `weight` has `ROWS` rows as long as `x`, a multiple of
/// `N`.
#[inline(always)]
unsafe fn dots<L: Lanes, const ROWS: usize>(x: &[f32], weight: &[f32]) -> [f32; ROWS] {
    // SAFETY: see above.
    unsafe {
        let mut sums = [L::splat(0.0); ROWS];
        for at in (0..x.len()).step_by(L::N) {
            let x_lanes = L::load(x.as_ptr().add(at));
            for (row, sum) in sums.iter_mut().enumerate() {
                *sum = L::load(weight.as_ptr().add(row * x.len() + at)).mul_add(x_lanes, *sum);
            }
        }
        sums.map(|sum| sum.sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_simd_level_computes_the_dot_products() {
        for (rows, outputs, inputs) in [(1, 1, 5), (3, 7, 24), (300, 9, 64), (2, 128, 96)] {
            let numbers = |len: usize, step: f32| -> Vec<f32> {
                (0..len).map(|n| (n as f32 * step).sin()).collect()
            };
            let (x, weight) = (numbers(rows * inputs, 0.37), numbers(outputs * inputs, 0.11));
            let dot = |index: usize| -> f64 {
                let (row, output) = (index / outputs, index % outputs);
                let x = &x[row * inputs..(row + 1) * inputs];
                let weight = &weight[output * inputs..(output + 1) * inputs];
                x.iter().zip(weight).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum()
            };
            let mut out = vec![0.0; rows * outputs];
            multiply(&x, &weight, inputs, &mut out);
            for level in Level::all_for(inputs) {
                let mut row = vec![0.0; outputs];
                multiply_row(level, &x[..inputs], &weight, &mut row);
                for (index, product) in row.iter().chain(&out).enumerate() {
                    let exact = dot(if index < outputs { index } else { index - outputs });
                    let off = (f64::from(*product) - exact).abs();
                    assert!(off < 1e-5, "{level:?}, {index}: {product} is not {exact}");
                }
            }
        }
    }
}
