//! IQ3: four numbers of eight values are a row of a grid, with a sign each.

use super::tables::{IQ3_S, IQ3_XXS, even, signed};
use super::{Decode, Part, half, word};

/// IQ3_XXS.
///
/// ```text
///  0  d
///  2  64 rows
/// 66  words, one per part: 4 · 7 signs and 4 bits of scale
/// ```
pub(super) struct Xxs;

/// IQ3_S.
///
/// ```text
///   0  d
///   2  64 rows, their low 8 bits
///  66  the rows' high bit, a byte per part
///  74  32 bytes of signs
/// 106  scales, 4 bits per part
/// ```
pub(super) struct S;

/// Joins two rows of four numbers.
#[inline(always)]
fn join(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

impl Decode for Xxs {
    const BYTES: usize = 98;

    #[inline(always)]
    fn part(block: &[u8], part: usize) -> Part {
        let (rows, bits) = (&block[2 + 8 * part..][..8], word(block, 66 + 4 * part));
        let row = |at: usize| IQ3_XXS[usize::from(rows[at])];
        let words = std::array::from_fn(|at| {
            signed(join(row(2 * at), row(2 * at + 1)), even(bits >> (7 * at)))
        });
        let scale = half(block, 0) * (0.5 + (bits >> 28) as f32) * 0.5;
        Part { words, scales: [scale; 2] }
    }
}

impl Decode for S {
    const BYTES: usize = 110;

    #[inline(always)]
    fn part(block: &[u8], part: usize) -> Part {
        let (rows, high) = (&block[2 + 8 * part..][..8], usize::from(block[66 + part]));
        let row = |at: usize| IQ3_S[usize::from(rows[at]) | (high >> at & 1) << 8];
        let words = std::array::from_fn(|at| {
            signed(join(row(2 * at), row(2 * at + 1)), block[74 + 4 * part + at])
        });
        let bits = block[106 + part / 2] >> (4 * (part % 2)) & 15;
        let scale = half(block, 0) * f32::from(1 + 2 * bits);
        Part { words, scales: [scale; 2] }
    }
}
