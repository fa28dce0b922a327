//! IQ2: eight numbers of 8, 25 or 43 are a row of a grid, with a sign each.

use super::tables::{IQ2_S, IQ2_XS, IQ2_XXS, even, signed};
use super::{Decode, Part, half, short, word};

/// IQ2_XXS: per part four bytes of rows, then 4 · 7 signs and 4 bits of scale.
///
/// ```text
///  0  d
///  2  8 × (4 rows, word)
/// ```
pub(super) struct Xxs;

/// IQ2_XS.
///
/// ```text
///  0  d
///  2  32 × (9 bits of a row, 7 signs)
/// 66  scales, 4 bits for 16 numbers
/// ```
pub(super) struct Xs;

/// IQ2_S.
///
/// ```text
///  0  d
///  2  32 rows, their low 8 bits
/// 34  32 bytes of signs
/// 66  the rows' high 2 bits, a byte per part
/// 74  scales, 4 bits for 16 numbers
/// ```
pub(super) struct S;

/// Returns the scale for `d` and 4 bits.
#[inline(always)]
fn scale(d: f32, bits: u32) -> f32 {
    d * (0.5 + bits as f32) * 0.25
}

/// Returns the scales of a part: the low bits for the first 16 numbers, the high ones for the others.
#[inline(always)]
fn scales(d: f32, byte: u8) -> [f32; 2] {
    [scale(d, u32::from(byte & 15)), scale(d, u32::from(byte >> 4))]
}

impl Decode for Xxs {
    const BYTES: usize = 66;

    #[inline(always)]
    fn part(block: &[u8], part: usize) -> Part {
        let rows = &block[2 + 8 * part..][..8];
        let bits = word(rows, 4);
        let words = std::array::from_fn(|at| {
            signed(IQ2_XXS[usize::from(rows[at])], even(bits >> (7 * at)))
        });
        Part { words, scales: [scale(half(block, 0), bits >> 28); 2] }
    }
}

impl Decode for Xs {
    const BYTES: usize = 74;

    #[inline(always)]
    fn part(block: &[u8], part: usize) -> Part {
        let words = std::array::from_fn(|at| {
            let row = short(block, 2 + 8 * part + 2 * at);
            signed(IQ2_XS[usize::from(row & 511)], even(u32::from(row >> 9)))
        });
        Part { words, scales: scales(half(block, 0), block[66 + part]) }
    }
}

impl Decode for S {
    const BYTES: usize = 82;

    #[inline(always)]
    fn part(block: &[u8], part: usize) -> Part {
        let high = usize::from(block[66 + part]);
        let words = std::array::from_fn(|at| {
            let row = usize::from(block[2 + 4 * part + at]) | (high >> (2 * at) & 3) << 8;
            signed(IQ2_S[row], block[34 + 4 * part + at])
        });
        Part { words, scales: scales(half(block, 0), block[74 + part]) }
    }
}
