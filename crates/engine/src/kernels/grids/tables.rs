//! The grids of the formats, and signs.
//!
//! `grids.bin` is written by `scripts/models/make_format_fixtures.py`, which describes it. Its tables define the
//! formats and follow no rule.

use super::OFFSETS;

/// All tables, one after the other. An entry has 16 bits.
const PACKED: &[u8; 2 * 4608] = include_bytes!("grids.bin");

pub(super) static IQ2_XXS: [u64; 256] = eights(0, TWO_BITS);
pub(super) static IQ2_XS: [u64; 512] = eights(256, TWO_BITS);
pub(super) static IQ2_S: [u64; 1024] = eights(768, TWO_BITS);
/// With [`OFFSET`](super::OFFSET), and multiplied by eight, as the numbers are moved by an eighth.
pub(super) static IQ1: [u64; 2048] = eights(1792, [56, 64, 72]);
pub(super) static IQ3_XXS: [u32; 256] = fours(3840, [4, 12, 20, 28, 36, 44, 52, 62]);
pub(super) static IQ3_S: [u32; 512] = fours(4096, [1, 3, 5, 7, 9, 11, 13, 15]);

/// The values of the grids of IQ2.
const TWO_BITS: [u8; 3] = [8, 25, 43];

/// For each byte of signs: eight bytes, of ones where the number is negative.
static NEGATIVE: [u64; 256] = {
    let mut masks = [0; 256];
    let mut signs = 0;
    while signs < 256 {
        let mut bit = 0;
        while bit < 8 {
            if signs >> bit & 1 == 1 {
                masks[signs] |= 0xff << (8 * bit);
            }
            bit += 1;
        }
        signs += 1;
    }
    masks
};

/// Reads a table of eight numbers of two bits each.
const fn eights<const N: usize>(first: usize, values: [u8; 3]) -> [u64; N] {
    let mut table = [0; N];
    let mut entry = 0;
    while entry < N {
        let mut bytes = [0; 8];
        let mut at = 0;
        while at < 8 {
            bytes[at] = values[(packed(first + entry) >> (2 * at) & 3) as usize];
            at += 1;
        }
        table[entry] = u64::from_le_bytes(bytes);
        entry += 1;
    }
    table
}

/// Reads a table of four numbers of four bits each.
const fn fours<const N: usize>(first: usize, values: [u8; 8]) -> [u32; N] {
    let mut table = [0; N];
    let mut entry = 0;
    while entry < N {
        let mut bytes = [0; 4];
        let mut at = 0;
        while at < 4 {
            bytes[at] = values[(packed(first + entry) >> (4 * at) & 15) as usize];
            at += 1;
        }
        table[entry] = u32::from_le_bytes(bytes);
        entry += 1;
    }
    table
}

const fn packed(entry: usize) -> u16 {
    u16::from_le_bytes([PACKED[2 * entry], PACKED[2 * entry + 1]])
}

/// Adds [`OFFSET`](super::OFFSET) to each byte, or subtracts the byte from it where `signs` has a bit.
#[inline(always)]
pub(super) fn signed(bytes: u64, signs: u8) -> u64 {
    // Bytes are at most 62, so nothing is carried from one to the next.
    let (plus, minus) = (OFFSETS + bytes, OFFSETS - bytes);
    plus ^ ((plus ^ minus) & NEGATIVE[usize::from(signs)])
}

/// Returns the signs of eight numbers of which seven are stored: the number of minus signs is even.
#[inline(always)]
pub(super) fn even(stored: u32) -> u8 {
    let seven = (stored & 0x7f) as u8;
    seven | ((seven.count_ones() as u8 & 1) << 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_even_and_negate() {
        assert_eq!([even(0), even(1), even(3), even(0x7f), even(0x80)], [0, 0x81, 3, 0xff, 0]);
        let bytes = u64::from_le_bytes([0, 1, 8, 25, 43, 62, 4, 15]);
        assert_eq!(signed(bytes, 0b0101_0110).to_le_bytes(), [64, 63, 56, 89, 21, 126, 60, 79]);
    }
}
