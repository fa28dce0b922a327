//! LoRA products for some rows of a projection: `y += b · (scale · a · x)`, in f32.
//!
//! The order in which a row's numbers are summed does not depend on the other rows. Rows are
//! computed four at a time, which share each weight that is loaded.

use super::parallel::{SharedOut, for_pieces};
use super::simd::{Lanes, Level, dispatch};

/// The largest rank.
pub(crate) const MAX_RANK: usize = 512;

/// Rows that are computed side by side.
const TILE: usize = 4;

/// Multiplications that cost as much as one simple operation.
const PER_OPERATION: usize = 8;

/// An adapter's two matrices for one projection, f32.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LowRank<'a> {
    /// `[rank, inputs]`
    pub(crate) a: &'a [f32],
    /// `[rank, outputs]`: the second matrix, transposed.
    pub(crate) b: &'a [f32],
    /// From 1 to [`MAX_RANK`].
    pub(crate) rank: usize,
    /// The factor for `a · x`: alpha / rank, or alpha / √rank with rsLoRA.
    pub(crate) scale: f32,
}

/// Adds the product of the matrices with the rows `rows` (ascending, without repetition) of `x`
/// `[tokens, inputs]` to the same rows of `y` `[tokens, outputs]`.
pub(crate) fn add(delta: LowRank<'_>, rows: &[u32], x: &[f32], y: &mut [f32]) {
    let LowRank { a, b, rank, .. } = delta;
    let (inputs, outputs) = (a.len() / rank, b.len() / rank);
    assert!((1..=MAX_RANK).contains(&rank) && a.len() == rank * inputs, "no such rank");
    assert!(b.len() == rank * outputs && rows.is_sorted_by(|one, next| one < next), "rows twice");
    let down = Level::best_for(&[inputs]);
    let up = Level::best_for(&[outputs]);
    let shared = SharedOut::new(y);
    let tiles = rows.len().div_ceil(TILE);
    let cost = rows.len() * rank * (inputs + outputs) / PER_OPERATION;
    for_pieces(tiles, cost, |pieces| {
        let mut between = [0.0; TILE * MAX_RANK];
        for tile in pieces {
            let rows = &rows[tile * TILE..((tile + 1) * TILE).min(rows.len())];
            let between = &mut between[..rows.len() * rank];
            down_project(down, a, delta.scale, inputs, rows, x, between);
            up_project(up, b, rank, outputs, rows, between, shared);
        }
    });
}

dispatch!(
    fn down_project = down_kernel(
        a: &[f32],
        scale: f32,
        inputs: usize,
        rows: &[u32],
        x: &[f32],
        between: &mut [f32],
    )
);
/// Computes `between[row] = scale · a · x[rows[row]]`; `between` is `[rows, rank]`.
#[inline(always)]
unsafe fn down_kernel<L: Lanes>(
    a: &[f32],
    scale: f32,
    inputs: usize,
    rows: &[u32],
    x: &[f32],
    between: &mut [f32],
) {
    assert!(inputs.is_multiple_of(L::N) && a.len().is_multiple_of(inputs));
    let rank = a.len() / inputs;
    assert!(between.len() == rows.len() * rank);
    let row = |index: u32| x[index as usize * inputs..(index as usize + 1) * inputs].as_ptr();
    let (whole, rest) = rows.as_chunks::<TILE>();
    for (tile, out) in whole.iter().zip(between.chunks_exact_mut(TILE * rank)) {
        // SAFETY: each row of `x` and of `a` has `inputs` numbers, a multiple of `N`.
        unsafe { dots::<L, TILE>(a, inputs, tile.map(row), out) };
    }
    let done = whole.len() * TILE * rank;
    for (index, out) in rest.iter().zip(between[done..].chunks_exact_mut(rank)) {
        // SAFETY: as above.
        unsafe { dots::<L, 1>(a, inputs, [row(*index)], out) };
    }
    for number in between {
        *number *= scale;
    }
}

/// Computes `out[row][j] = a[j] · x[row]`; `out` is `[R, rank]`.
///
/// # Safety
/// The machine has the instructions of `L`; each pointer of `x` points to `inputs` numbers, a
/// multiple of `N`.
#[inline(always)]
unsafe fn dots<L: Lanes, const R: usize>(
    a: &[f32],
    inputs: usize,
    x: [*const f32; R],
    out: &mut [f32],
) {
    let rank = a.len() / inputs;
    let mut j = 0;
    while j + 4 <= rank {
        // SAFETY: the four rows from `j` on are in `a`.
        unsafe {
            dots_of_block::<L, R, 4>(&a[j * inputs..(j + 4) * inputs], inputs, x, j, rank, out)
        };
        j += 4;
    }
    while j < rank {
        // SAFETY: the row `j` is in `a`.
        unsafe {
            dots_of_block::<L, R, 1>(&a[j * inputs..(j + 1) * inputs], inputs, x, j, rank, out)
        };
        j += 1;
    }
}

/// Computes the dot products with `J` rows of `a`, the rows from `j` on.
///
/// # Safety
/// As for [`dots`]; `a` has `J * inputs` numbers.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // several arrays are walked side by side
unsafe fn dots_of_block<L: Lanes, const R: usize, const J: usize>(
    a: &[f32],
    inputs: usize,
    x: [*const f32; R],
    j: usize,
    rank: usize,
    out: &mut [f32],
) {
    debug_assert!(a.len() == J * inputs);
    // SAFETY: see above; `at + N` is at most `inputs`.
    unsafe {
        let mut sums = [[L::splat(0.0); J]; R];
        for at in (0..inputs).step_by(L::N) {
            for one in 0..J {
                let weights = L::load(a.as_ptr().add(one * inputs + at));
                for row in 0..R {
                    sums[row][one] = L::load(x[row].add(at)).mul_add(weights, sums[row][one]);
                }
            }
        }
        for row in 0..R {
            for one in 0..J {
                out[row * rank + j + one] = sums[row][one].sum();
            }
        }
    }
}

dispatch!(
    fn up_project = up_kernel(
        b: &[f32],
        rank: usize,
        outputs: usize,
        rows: &[u32],
        between: &[f32],
        y: SharedOut<'_, f32>,
    )
);
/// Computes `y[rows[row]] += bᵀ · between[row]`. No other thread may write these rows of `y`.
#[inline(always)]
unsafe fn up_kernel<L: Lanes>(
    b: &[f32],
    rank: usize,
    outputs: usize,
    rows: &[u32],
    between: &[f32],
    y: SharedOut<'_, f32>,
) {
    assert!(outputs.is_multiple_of(L::N) && b.len() == rank * outputs);
    assert!(between.len() == rows.len() * rank);
    let row = |index: u32| {
        let start = index as usize * outputs;
        // SAFETY: `rows` has no repetitions, and each tile of rows is computed by one thread.
        unsafe { y.part(start..start + outputs) }.as_mut_ptr()
    };
    let (whole, rest) = rows.as_chunks::<TILE>();
    for (tile, between) in whole.iter().zip(between.chunks_exact(TILE * rank)) {
        // SAFETY: each row of `y` and of `b` has `outputs` numbers, a multiple of `N`.
        unsafe { sums::<L, TILE>(b, outputs, tile.map(row), between) };
    }
    let done = whole.len() * TILE * rank;
    for (index, between) in rest.iter().zip(between[done..].chunks_exact(rank)) {
        // SAFETY: as above.
        unsafe { sums::<L, 1>(b, outputs, [row(*index)], between) };
    }
}

/// Computes `y[row] += Σ between[row][j] · b[j]`; `between` is `[R, rank]`.
///
/// # Safety
/// The machine has the instructions of `L`; each pointer of `y` points to `outputs` numbers, a
/// multiple of `N`, and no two of these ranges overlap.
#[inline(always)]
unsafe fn sums<L: Lanes, const R: usize>(
    b: &[f32],
    outputs: usize,
    y: [*mut f32; R],
    between: &[f32],
) {
    let rank = b.len() / outputs;
    let mut at = 0;
    while at + 2 * L::N <= outputs {
        // SAFETY: every row has `2 * N` numbers from `at` on.
        unsafe { sums_of_block::<L, R, 2>(b, outputs, y, between, rank, at) };
        at += 2 * L::N;
    }
    if at < outputs {
        // SAFETY: every row has `N` numbers from `at` on, as `outputs` is a multiple of `N`.
        unsafe { sums_of_block::<L, R, 1>(b, outputs, y, between, rank, at) };
    }
}

/// Computes the `V` vectors from number `at` on.
///
/// # Safety
/// As for [`sums`]; `at + V * N` is at most `outputs`.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // several arrays are walked side by side
unsafe fn sums_of_block<L: Lanes, const R: usize, const V: usize>(
    b: &[f32],
    outputs: usize,
    y: [*mut f32; R],
    between: &[f32],
    rank: usize,
    at: usize,
) {
    // SAFETY: see above; `between` is a slice.
    unsafe {
        let mut sums = [[L::splat(0.0); V]; R];
        for j in 0..rank {
            for vector in 0..V {
                let weights = L::load(b.as_ptr().add(j * outputs + at + vector * L::N));
                for row in 0..R {
                    let factor = L::splat(between[row * rank + j]);
                    sums[row][vector] = factor.mul_add(weights, sums[row][vector]);
                }
            }
        }
        for row in 0..R {
            for vector in 0..V {
                let place = y[row].add(at + vector * L::N);
                L::load(place).add(sums[row][vector]).store(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(len: usize, seed: u32) -> Vec<f32> {
        let mixed = |n: u32| n.wrapping_mul(2_654_435_761).wrapping_add(seed * 977) >> 8;
        (0..len as u32).map(|n| mixed(n) as f32 / (1 << 23) as f32 - 1.0).collect()
    }

    #[test]
    fn low_rank_delta_matches_the_formula_and_leaves_other_rows_alone() {
        const TOKENS: usize = 13;
        // Ranks and lengths that are not multiples of each other or of the tile.
        for (rank, inputs, outputs) in
            [(1, 16, 8), (3, 64, 48), (4, 7, 5), (6, 96, 24), (17, 256, 512), (512, 32, 16)]
        {
            let (a, b) = (numbers(rank * inputs, 1), numbers(rank * outputs, 2));
            let (x, y) = (numbers(TOKENS * inputs, 3), numbers(TOKENS * outputs, 4));
            let delta = LowRank { a: &a, b: &b, rank, scale: 0.75 };
            let rows: Vec<u32> = (0..TOKENS as u32).filter(|row| row % 5 != 2).collect();
            let mut together = y.clone();
            add(delta, &rows, &x, &mut together);
            for row in 0..TOKENS {
                let (own, before) =
                    (&together[row * outputs..][..outputs], &y[row * outputs..][..outputs]);
                if !rows.contains(&(row as u32)) {
                    assert_eq!(own, before, "a row that was not named");
                    continue;
                }
                let x = &x[row * inputs..][..inputs];
                let dot = |a: &[f32]| -> f64 {
                    a.iter().zip(x).map(|(a, x)| f64::from(*a) * f64::from(*x)).sum()
                };
                let between: Vec<f64> = a.chunks(inputs).map(dot).collect();
                for (place, (own, before)) in own.iter().zip(before).enumerate() {
                    let sum = between.iter().enumerate();
                    let sum: f64 = sum.map(|(j, t)| t * f64::from(b[j * outputs + place])).sum();
                    let expected = f64::from(*before) + 0.75 * sum;
                    let off = (f64::from(*own) - expected).abs();
                    let allowed = 1e-6 * (1.0 + (rank * inputs) as f64).sqrt() * 4.0;
                    assert!(off <= allowed, "{rank} {inputs} {outputs}: off by {off}");
                }
                let mut alone = y.clone();
                add(delta, &[row as u32], &numbers(TOKENS * inputs, 3), &mut alone);
                assert_eq!(
                    &alone[row * outputs..][..outputs],
                    own,
                    "another row made a difference"
                );
            }
        }
    }

    #[test]
    fn every_simd_level_matches_the_scalar_twin() {
        const ROWS: [u32; 6] = [0, 1, 3, 4, 5, 8];
        let (rank, inputs, outputs) = (7, 64, 96);
        let (a, b) = (numbers(rank * inputs, 5), numbers(rank * outputs, 6));
        let (x, y) = (numbers(9 * inputs, 7), numbers(9 * outputs, 8));
        let run = |level: Level| {
            let (mut between, mut y) = (vec![0.0; ROWS.len() * rank], y.clone());
            down_project(level, &a, 1.5, inputs, &ROWS, &x, &mut between);
            up_project(level, &b, rank, outputs, &ROWS, &between, SharedOut::new(&mut y));
            y
        };
        let twin = run(Level::Scalar);
        for level in Level::all_for(32) {
            for (one, twin) in run(level).iter().zip(&twin) {
                assert!((one - twin).abs() <= 2e-5, "{level:?}: {one} is not {twin}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "rows twice")]
    fn repeated_row_indexes_panic() {
        let delta = LowRank { a: &[1.0; 8], b: &[1.0; 8], rank: 1, scale: 1.0 };
        add(delta, &[1, 1], &[0.0; 16], &mut [0.0; 16]);
    }
}
