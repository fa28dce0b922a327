//! Panels of grid formats ([`Grid`]), which are decoded before they are multiplied.
//!
//! A packed panel has the blocks of the file: first the first block of each of the sixteen rows, then the second, and
//! so on. A thread that multiplies a panel first decodes it to the layout below, in memory of its own that it keeps
//! for the next panel, and then multiplies it by all tiles of its strip.
//!
//! ```text
//! bytes of 32 decoded numbers of sixteen rows (a word is 4 bytes of each row)
//!      0  scales  2 × 16 f32: of the first 16 numbers and of the others
//!    128  quants  8 words, each byte plus 64
//! ```

use super::PANEL_ROWS;
use super::activations::TileBlock;
use super::format::Format;
use super::lanes::Sixteen;
use super::products::add_scaled;
use crate::kernels::grids::{BLOCK, Grid, Part};

/// Decoded numbers. They exist only while they are multiplied.
pub(super) struct Decoded;

/// Bytes of 32 decoded numbers of all rows.
const PART_BYTES: usize = PANEL_ROWS * Decoded::BYTES;
/// Bytes of a word of all rows.
const WORD_BYTES: usize = 4 * PANEL_ROWS;

/// Writes one block of each of sixteen rows in the order of a panel.
pub(super) fn pack(rows: [&[u8]; PANEL_ROWS], out: &mut [u8]) {
    let bytes = out.len() / PANEL_ROWS;
    for (row, out) in rows.iter().zip(out.chunks_exact_mut(bytes)) {
        out.copy_from_slice(&row[..bytes]);
    }
}

/// Decodes a panel. `out` grows to the length of the longest one.
pub(super) fn decode<'a>(grid: Grid, panel: &[u8], out: &'a mut Vec<u8>) -> &'a [u8] {
    let row_bytes = grid.block_bytes();
    let blocks = panel.len() / (PANEL_ROWS * row_bytes);
    let len = blocks * BLOCK / 32 * PART_BYTES;
    if out.len() < len {
        out.resize(len, 0);
    }
    let out = &mut out[..len];
    for (rows, out) in panel
        .chunks_exact(PANEL_ROWS * row_bytes)
        .zip(out.chunks_exact_mut(BLOCK / 32 * PART_BYTES))
    {
        for (row, block) in rows.chunks_exact(row_bytes).enumerate() {
            let (parts, _) = out.as_chunks_mut::<PART_BYTES>();
            grid.decode(block, |index, part| put(row, &part, &mut parts[index]));
        }
    }
    out
}

/// Writes 32 numbers of one row.
#[inline(always)]
fn put(row: usize, part: &Part, out: &mut [u8; PART_BYTES]) {
    let (words, _) = out.as_chunks_mut::<WORD_BYTES>();
    for (scale, word) in part.scales.iter().zip(&mut words[..2]) {
        word[4 * row..4 * row + 4].copy_from_slice(&scale.to_le_bytes());
    }
    for (eight, pair) in part.words.iter().zip(words[2..].as_chunks_mut::<2>().0) {
        pair[0][4 * row..4 * row + 4].copy_from_slice(&(*eight as u32).to_le_bytes());
        pair[1][4 * row..4 * row + 4].copy_from_slice(&((eight >> 32) as u32).to_le_bytes());
    }
}

impl Format for Decoded {
    const BLOCK: usize = 32;
    const BYTES: usize = 40;

    /// Decoded numbers are never read from a file.
    fn pack(rows: [&[u8]; PANEL_ROWS], out: &mut [u8]) {
        pack(rows, out);
    }

    #[inline(always)]
    unsafe fn add_block<S: Sixteen, const C: usize>(
        block: *const u8,
        x: &[TileBlock<C>],
        sums: &mut [S::Floats; C],
    ) {
        let x = &x[0];
        // SAFETY: see the trait; the offsets follow the layout above.
        unsafe {
            for half in 0..2 {
                let scale = S::load_floats(block.add(half * 64));
                let mut dots = [S::splat(0); C];
                for (column, dot) in dots.iter_mut().enumerate() {
                    *dot = S::minus_shifted(S::splat(x.sums[half][column]), 6);
                }
                for (group, x) in x.bytes[4 * half..][..4].iter().enumerate() {
                    let w = S::load(block.add(128 + (4 * half + group) * 64));
                    for (dot, x) in dots.iter_mut().zip(x) {
                        *dot = S::dot(*dot, w, S::splat(*x));
                    }
                }
                add_scaled::<S, C>(dots, scale, x, sums);
            }
        }
    }
}
