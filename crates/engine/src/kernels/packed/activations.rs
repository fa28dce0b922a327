//! The other factor: activations, quantized to signed bytes in blocks of 32 numbers.
//!
//! ```text
//! rows of x ─▶ tiles of 8 rows (the last of 1, 2, 4 or 8), in a tile called columns
//! tile      ─▶ one TileBlock for every 32 numbers:
//!
//!     bytes   [8][C]  x[4g .. 4g+4] of column c in one word, for g of 0..8
//!     scales     [C]  largest magnitude / 127
//!     sums    [2][C]  of the bytes 0..16 and 16..32: what offsets of weights are multiplied with
//!     totals     [C]  scale · all bytes: what minima of weights are multiplied with
//! ```
//!
//! A kernel walks a tile from front to back and spreads each word over all its lanes: sixteen rows
//! of weights times four numbers of one column. The same form serves every weight format.

use super::level::{Level, on_level};
use crate::kernels::parallel::{SharedOut, for_pieces};

/// Numbers in a block.
pub(super) const BLOCK: usize = 32;

/// The widest tile: with sums of whole and of broken numbers, its columns fill the registers.
pub(super) const WIDEST: usize = 8;

/// A block of `C` columns.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct TileBlock<const C: usize> {
    pub(super) bytes: [[i32; C]; BLOCK / 4],
    pub(super) scales: [f32; C],
    pub(super) sums: [[i32; C]; 2],
    pub(super) totals: [f32; C],
}

/// Words of a block, per column.
const BLOCK_WORDS: usize = size_of::<TileBlock<1>>() / 4;

/// Quantized rows. The memory stays for the next use.
#[derive(Debug, Default)]
pub(crate) struct Activations {
    rows: usize,
    blocks: usize,
    words: Vec<u32>,
}

impl Activations {
    /// Quantizes rows of `inputs` numbers, a multiple of 32.
    pub(crate) fn quantize(&mut self, x: &[f32], inputs: usize) {
        assert!(inputs > 0 && inputs.is_multiple_of(BLOCK) && x.len().is_multiple_of(inputs));
        self.rows = x.len() / inputs;
        self.blocks = inputs / BLOCK;
        let tile_len = WIDEST * self.blocks * BLOCK_WORDS;
        // Never shrunk: what is not written is not read.
        let len = self.tiles() * tile_len;
        if self.words.len() < len {
            self.words.resize(len, 0);
        }
        let level = Level::best();
        let shared = SharedOut::new(&mut self.words[..len]);
        for_pieces(self.rows.div_ceil(WIDEST), x.len() * 2, |tiles| {
            for (tile, x) in
                tiles.clone().zip(x[tiles.start * WIDEST * inputs..].chunks(WIDEST * inputs))
            {
                // SAFETY: every tile is written by one thread.
                let words = unsafe { shared.part(tile * tile_len..(tile + 1) * tile_len) };
                quantize_tile(level, x, inputs, words);
            }
        });
    }

    /// How many rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers of a row.
    pub(crate) fn inputs(&self) -> usize {
        self.blocks * BLOCK
    }

    /// How many tiles.
    pub(super) fn tiles(&self) -> usize {
        self.rows.div_ceil(WIDEST)
    }

    /// How many rows a tile has.
    pub(super) fn rows_of(&self, tile: usize) -> usize {
        (self.rows - tile * WIDEST).min(WIDEST)
    }

    /// One tile, whose width must be `width_of` its rows.
    pub(super) fn tile<const C: usize>(&self, tile: usize) -> &[TileBlock<C>] {
        assert!(width_of(self.rows_of(tile)) == C, "a tile of another width");
        let start = tile * WIDEST * self.blocks * BLOCK_WORDS;
        let words = &self.words[start..start + C * self.blocks * BLOCK_WORDS];
        // SAFETY: a block is words without padding, any of which are valid, of the same alignment;
        // the slice holds `blocks` of them.
        unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), self.blocks) }
    }
}

/// The width of a tile of `rows` rows: columns beyond them are zero, and computed for nothing.
pub(super) fn width_of(rows: usize) -> usize {
    rows.next_power_of_two()
}

on_level!(
    /// Writes the blocks of up to eight rows.
    fn quantize_tile = quantize_rows(x: &[f32], inputs: usize, words: &mut [u32])
);

#[inline(always)]
fn quantize_rows(x: &[f32], inputs: usize, words: &mut [u32]) {
    let width = width_of(x.len() / inputs);
    for column in 0..width {
        let row = x.get(column * inputs..(column + 1) * inputs);
        for block in 0..inputs / BLOCK {
            let words = &mut words[block * width * BLOCK_WORDS..][..width * BLOCK_WORDS];
            let quantized = match row {
                Some(row) => quantize_block(&row[block * BLOCK..]),
                None => [0; BLOCK_WORDS],
            };
            for (index, word) in quantized.into_iter().enumerate() {
                words[index * width + column] = word;
            }
        }
    }
}

/// The words of 32 numbers, as they follow one another in a [`TileBlock`].
#[inline(always)]
fn quantize_block(x: &[f32]) -> [u32; BLOCK_WORDS] {
    let x: &[f32; BLOCK] = x[..BLOCK].try_into().unwrap_or(&[0.0; BLOCK]);
    // As whole numbers magnitudes keep their order, and what is no number is the largest of all.
    let bits = x.iter().fold(0, |most, x| (x.to_bits() & 0x7fff_ffff).max(most));
    let largest = f32::from_bits(bits);
    // Numbers too small for a reciprocal count as zero.
    let (scale, inverse) =
        if largest < 1e-30 { (0.0, 0.0) } else { (largest / 127.0, 127.0 / largest) };
    let bytes: [i8; BLOCK] = std::array::from_fn(|at| (x[at] * inverse).round_ties_even() as i8);
    let sum = |half: &[i8]| half.iter().map(|byte| i32::from(*byte)).sum::<i32>();
    let sums = [sum(&bytes[..16]), sum(&bytes[16..])];
    let mut words = [0; BLOCK_WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(bytes.map(|byte| byte as u8));
    }
    words[8] = scale.to_bits();
    words[9] = sums[0] as u32;
    words[10] = sums[1] as u32;
    words[11] = (scale * (sums[0] + sums[1]) as f32).to_bits();
    words
}
