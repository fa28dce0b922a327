//! Formats whose numbers are rows of a fixed grid: IQ1, IQ2 and IQ3.
//!
//! A block has 256 numbers, here cut into eight parts of 32. Every number is a small integer times a scale that at
//! least 16 numbers share, so a part is decoded to 32 bytes and two scales ([`Part`]). Both dequantizing and the
//! products start from that. Source of the formats: the blocks `block_iq*` in ggml-common.h, and ggml-quants.c.
//!
//! - `tables`: the grids, and the signs
//! - `iq1`, `iq2`, `iq3`: one type per format

mod iq1;
mod iq2;
mod iq3;
mod tables;

use half::f16;

use crate::weight_format::WeightFormat;

/// Numbers of a block.
pub(super) const BLOCK: usize = 256;
/// Parts of a block.
const PARTS: usize = BLOCK / 32;
/// What is added to the integers, so that bytes are not negative: more than the largest, 62.
pub(super) const OFFSET: u8 = 64;
/// [`OFFSET`] in every byte.
const OFFSETS: u64 = u64::from_le_bytes([OFFSET; 8]);

/// A format whose numbers are rows of a grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grid {
    Iq3Xxs,
    Iq3S,
    Iq2Xxs,
    Iq2Xs,
    Iq2S,
    Iq1S,
    Iq1M,
}

/// 32 numbers: `(byte - OFFSET) * scale`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// Eight bytes each, the first number in the lowest one.
    pub(super) words: [u64; 4],
    /// Of the first 16 numbers and of the others.
    pub(super) scales: [f32; 2],
}

/// Decodes the blocks of one format.
trait Decode {
    /// Bytes of a block.
    const BYTES: usize;

    /// Decodes 32 numbers of a block.
    fn part(block: &[u8], part: usize) -> Part;
}

impl Grid {
    /// Returns the format, or `None` if it is of another kind.
    pub(super) fn of(format: WeightFormat) -> Option<Self> {
        match format {
            WeightFormat::Iq3Xxs => Some(Self::Iq3Xxs),
            WeightFormat::Iq3S => Some(Self::Iq3S),
            WeightFormat::Iq2Xxs => Some(Self::Iq2Xxs),
            WeightFormat::Iq2Xs => Some(Self::Iq2Xs),
            WeightFormat::Iq2S => Some(Self::Iq2S),
            WeightFormat::Iq1S => Some(Self::Iq1S),
            WeightFormat::Iq1M => Some(Self::Iq1M),
            _ => None,
        }
    }

    /// Returns the bytes of a block.
    pub(super) fn block_bytes(self) -> usize {
        match self {
            Self::Iq3Xxs => iq3::Xxs::BYTES,
            Self::Iq3S => iq3::S::BYTES,
            Self::Iq2Xxs => iq2::Xxs::BYTES,
            Self::Iq2Xs => iq2::Xs::BYTES,
            Self::Iq2S => iq2::S::BYTES,
            Self::Iq1S => iq1::S::BYTES,
            Self::Iq1M => iq1::M::BYTES,
        }
    }

    /// Decodes whole blocks and calls `put` with the index of each part and its numbers.
    #[inline(always)]
    pub(super) fn decode(self, blocks: &[u8], put: impl FnMut(usize, Part)) {
        match self {
            Self::Iq3Xxs => decode::<iq3::Xxs>(blocks, put),
            Self::Iq3S => decode::<iq3::S>(blocks, put),
            Self::Iq2Xxs => decode::<iq2::Xxs>(blocks, put),
            Self::Iq2Xs => decode::<iq2::Xs>(blocks, put),
            Self::Iq2S => decode::<iq2::S>(blocks, put),
            Self::Iq1S => decode::<iq1::S>(blocks, put),
            Self::Iq1M => decode::<iq1::M>(blocks, put),
        }
    }

    /// Dequantizes whole blocks.
    pub(super) fn dequantize(self, blocks: &[u8], out: &mut [f32]) {
        self.decode(blocks, |index, part| {
            let out = &mut out[32 * index..][..32];
            let bytes = part.words.into_iter().flat_map(u64::to_le_bytes);
            for (at, (out, byte)) in out.iter_mut().zip(bytes).enumerate() {
                *out = part.scales[at / 16] * f32::from(i16::from(byte) - i16::from(OFFSET));
            }
        });
    }
}

#[inline(always)]
fn decode<D: Decode>(blocks: &[u8], mut put: impl FnMut(usize, Part)) {
    for (index, block) in blocks.chunks_exact(D::BYTES).enumerate() {
        for part in 0..PARTS {
            put(index * PARTS + part, D::part(block, part));
        }
    }
}

/// Reads an f16 of a block.
#[inline(always)]
fn half(block: &[u8], at: usize) -> f32 {
    f16::from_bits(short(block, at)).to_f32()
}

#[inline(always)]
fn short(block: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([block[at], block[at + 1]])
}

#[inline(always)]
fn word(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}
