//! Steps of products that formats share: 32 weights of sixteen rows times 32 numbers of `C` columns.

use super::activations::TileBlock;
use super::lanes::Sixteen;

/// Returns the start of the sums of products whose weights have an offset of `2^shift`.
///
/// # Safety
/// The machine has the instructions of `S`.
#[inline(always)]
pub(super) unsafe fn of_offset<S: Sixteen, const C: usize>(
    x: &TileBlock<C>,
    shift: u32,
) -> [S::Ints; C] {
    // SAFETY: see above.
    unsafe {
        let mut dots = [S::splat(0); C];
        for (column, dot) in dots.iter_mut().enumerate() {
            *dot = S::minus_shifted(S::splat(x.sums[0][column] + x.sums[1][column]), shift);
        }
        dots
    }
}

/// Loads the 4-bit weights `4 · group ..` of a block of 32: the low nibbles of its four words are the first sixteen.
///
/// # Safety
/// The machine has the instructions of `S`, `quants` points to 256 bytes, and `group` is below 8.
#[inline(always)]
pub(super) unsafe fn load_nibbles<S: Sixteen>(quants: *const u8, group: usize) -> S::Ints {
    // SAFETY: see above.
    unsafe {
        let words = S::load(quants.add(group % 4 * 64));
        S::and(S::shift_right(words, (group / 4 * 4) as u32), S::splat(0x0f0f_0f0f))
    }
}

/// Returns the sums of products with 4-bit weights that are indices of `table`, whose values have an offset of
/// `2^SHIFT`. Values above 127 need a `SHIFT` of 7.
///
/// # Safety
/// The machine has the instructions of `S`, and `quants` points to 256 bytes.
#[inline(always)]
pub(super) unsafe fn of_looked_up<S: Sixteen, const C: usize, const SHIFT: u32>(
    quants: *const u8,
    table: S::Ints,
    x: &TileBlock<C>,
) -> [S::Ints; C] {
    // SAFETY: see above.
    unsafe {
        let mut dots = of_offset::<S, C>(x, SHIFT);
        for (group, x) in x.bytes.iter().enumerate() {
            let w = S::look_up(table, load_nibbles::<S>(quants, group));
            for (dot, x) in dots.iter_mut().zip(x) {
                let x = S::splat(*x);
                *dot = if SHIFT < 7 { S::dot(*dot, w, x) } else { S::dot_wide(*dot, w, x) };
            }
        }
        dots
    }
}

/// Adds the sums of products, times the scales of the weights and of the columns.
///
/// # Safety
/// The machine has the instructions of `S`.
#[inline(always)]
pub(super) unsafe fn add_scaled<S: Sixteen, const C: usize>(
    dots: [S::Ints; C],
    scale: S::Floats,
    x: &TileBlock<C>,
    sums: &mut [S::Floats; C],
) {
    for column in 0..C {
        // SAFETY: see above.
        unsafe {
            let scale = S::mul(scale, S::splat_float(x.scales[column]));
            sums[column] = S::mul_add(S::to_floats(dots[column]), scale, sums[column]);
        }
    }
}
