//! IQ1: eight numbers of -1, 0 and 1 are a row of a grid, all of them moved by an eighth up or down.
//!
//! The integers here are eighths, so that they are whole.

use half::f16;

use super::tables::IQ1;
use super::{Decode, Part, half, short};

/// One in every byte.
const ONES: u64 = u64::from_le_bytes([1; 8]);

/// IQ1_S.
///
/// ```text
///  0  d
///  2  32 rows, their low 8 bits
/// 34  8 × 16 bits, per part: the rows' high 3 bits, 3 bits of scale, whether the numbers are moved down
/// ```
pub(super) struct S;

/// IQ1_M.
///
/// ```text
///  0  32 rows, their low 8 bits
/// 32  32 × 4 bits: a row's high 3 bits, whether its numbers are moved down
/// 48  4 × 16 bits: 4 scales of 3 bits for 16 numbers each, and 4 bits of d
/// ```
pub(super) struct M;

/// Returns a row in eighths.
#[inline(always)]
fn moved(row: usize, down: bool) -> u64 {
    if down { IQ1[row] - ONES } else { IQ1[row] + ONES }
}

/// Returns the scale of eighths for `d` and 3 bits.
#[inline(always)]
fn scale(d: f32, bits: u16) -> f32 {
    d * f32::from(2 * (bits & 7) + 1) * 0.125
}

impl Decode for S {
    const BYTES: usize = 50;

    #[inline(always)]
    fn part(block: &[u8], part: usize) -> Part {
        let bits = short(block, 34 + 2 * part);
        let words = std::array::from_fn(|at| {
            let high = usize::from(bits >> (3 * at) & 7);
            moved(usize::from(block[2 + 4 * part + at]) | high << 8, bits >> 15 == 1)
        });
        Part { words, scales: [scale(half(block, 0), bits >> 12); 2] }
    }
}

impl Decode for M {
    const BYTES: usize = 56;

    #[inline(always)]
    fn part(block: &[u8], part: usize) -> Part {
        let of_scales: [u16; 4] = std::array::from_fn(|at| short(block, 48 + 2 * at));
        let d = (0..4).fold(0, |d, at| d | of_scales[at] >> 12 << (4 * at));
        let d = f16::from_bits(d).to_f32();
        let words = std::array::from_fn(|at| {
            let bits = usize::from(block[32 + 2 * part + at / 2] >> (4 * (at % 2)));
            moved(usize::from(block[4 * part + at]) | (bits & 7) << 8, bits & 8 != 0)
        });
        let scales = std::array::from_fn(|half| {
            let index = 2 * part + half;
            scale(d, of_scales[index / 4] >> (3 * (index % 4)))
        });
        Part { words, scales }
    }
}
