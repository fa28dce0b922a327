//! Activations, quantized to signed bytes in blocks of 32 numbers.
//!
//! ```text
//! rows of x ─▶ tiles of 8 rows (the last of 1, 2, 4 or 8), called columns in a tile
//! tile      ─▶ one TileBlock for every 32 numbers:
//!
//!     bytes   [8][C]  x[4g .. 4g+4] of column c in one word, for g of 0..8
//!     scales     [C]  largest magnitude / 127
//!     sums    [2][C]  of the bytes 0..16 and 16..32: multiplied by the offsets of weights
//!     totals     [C]  scale · sum of all bytes: multiplied by the minima of weights
//! ```
//!
//! A kernel walks a tile from front to back and broadcasts each word to all lanes: sixteen rows of
//! weights times four numbers of one column. The same layout serves every weight format.

use super::level::Level;
use crate::kernels::parallel::{SharedOut, for_pieces};

/// Numbers in a block.
pub(super) const BLOCK: usize = 32;

/// Columns of the widest tile: with their integer and f32 sums, they fill the registers.
pub(super) const MAX_TILE_WIDTH: usize = 8;

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

/// Quantized rows. The buffer is kept for the next use.
#[derive(Debug, Default)]
pub(crate) struct Activations {
    rows: usize,
    /// Blocks of 32 numbers per row.
    blocks: usize,
    words: Vec<u32>,
}

impl Activations {
    /// Quantizes `x` `[rows, inputs]`. `inputs` is a multiple of 32.
    pub(crate) fn quantize(&mut self, x: &[f32], inputs: usize) {
        assert!(inputs > 0 && inputs.is_multiple_of(BLOCK) && x.len().is_multiple_of(inputs));
        self.rows = x.len() / inputs;
        self.blocks = inputs / BLOCK;
        let tile_len = MAX_TILE_WIDTH * self.blocks * BLOCK_WORDS;
        // Never shrunk. Words beyond the last tile's columns keep old values and are not read.
        let len = self.tiles() * tile_len;
        if self.words.len() < len {
            self.words.resize(len, 0);
        }
        let level = Level::best();
        let shared = SharedOut::new(&mut self.words[..len]);
        for_pieces(self.rows.div_ceil(MAX_TILE_WIDTH), x.len() * 2, |tiles| {
            for (tile, x) in tiles
                .clone()
                .zip(x[tiles.start * MAX_TILE_WIDTH * inputs..].chunks(MAX_TILE_WIDTH * inputs))
            {
                // SAFETY: each tile is written by one thread.
                let words = unsafe { shared.part(tile * tile_len..(tile + 1) * tile_len) };
                quantize_tile(level, x, inputs, words);
            }
        });
    }

    /// The number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The length of a row.
    pub(crate) fn inputs(&self) -> usize {
        self.blocks * BLOCK
    }

    /// The number of tiles.
    pub(super) fn tiles(&self) -> usize {
        self.rows.div_ceil(MAX_TILE_WIDTH)
    }

    /// The number of rows in a tile.
    pub(super) fn rows_of(&self, tile: usize) -> usize {
        (self.rows - tile * MAX_TILE_WIDTH).min(MAX_TILE_WIDTH)
    }

    /// Returns one tile. Panics unless `C` is `tile_width(self.rows_of(tile))`.
    pub(super) fn tile<const C: usize>(&self, tile: usize) -> &[TileBlock<C>] {
        assert!(tile_width(self.rows_of(tile)) == C, "a tile of another width");
        let start = tile * MAX_TILE_WIDTH * self.blocks * BLOCK_WORDS;
        let words = &self.words[start..start + C * self.blocks * BLOCK_WORDS];
        // SAFETY: a `TileBlock` is words without padding, valid with any bits and aligned like
        // them; the slice holds `blocks` of them.
        unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), self.blocks) }
    }
}

/// Returns the width of a tile of `rows` rows. The columns beyond `rows` are zero and their
/// products are not used.
pub(super) fn tile_width(rows: usize) -> usize {
    rows.next_power_of_two()
}

/// Writes the blocks of up to eight rows: `x` is `[rows, inputs]`.
fn quantize_tile(level: Level, x: &[f32], inputs: usize, words: &mut [u32]) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
        fn avx512(x: &[f32], inputs: usize, words: &mut [u32]) {
            // SAFETY: this function has the instructions.
            quantize_rows(x, inputs, words, |x| unsafe { quantize_block_avx512(x) });
        }
        #[target_feature(enable = "avx2,fma,f16c")]
        fn avx2(x: &[f32], inputs: usize, words: &mut [u32]) {
            quantize_rows(x, inputs, words, quantize_block);
        }
        // SAFETY: a level is used only where its instructions are available.
        match level {
            Level::Avx512Vnni => return unsafe { avx512(x, inputs, words) },
            Level::AvxVnni | Level::Avx2 => return unsafe { avx2(x, inputs, words) },
            Level::Portable => {}
        }
    }
    quantize_rows(x, inputs, words, quantize_block);
}

#[inline(always)]
fn quantize_rows(
    x: &[f32],
    inputs: usize,
    words: &mut [u32],
    quantize: impl Fn(&[f32; BLOCK]) -> [u32; BLOCK_WORDS],
) {
    let width = tile_width(x.len() / inputs);
    let blocks = inputs / BLOCK;
    for column in 0..width {
        let row = x.get(column * inputs..(column + 1) * inputs).map(|row| row.as_chunks().0);
        for (block, words) in words.chunks_exact_mut(width * BLOCK_WORDS).take(blocks).enumerate() {
            let quantized = row.map_or([0; BLOCK_WORDS], |row| quantize(&row[block]));
            for (words, word) in words.chunks_exact_mut(width).zip(quantized) {
                words[column] = word;
            }
        }
    }
}

/// Returns the factor from bytes to numbers and that from numbers to bytes, for a block whose
/// largest magnitude has the bits `largest`. If it is too small to have a reciprocal, the block
/// counts as zero.
#[inline(always)]
fn scale_and_inverse(largest: u32) -> (f32, f32) {
    let largest = f32::from_bits(largest);
    if largest < 1e-30 { (0.0, 0.0) } else { (largest / 127.0, 127.0 / largest) }
}

/// Quantizes a block to the words of a [`TileBlock`] with one column, in its order.
#[inline(always)]
fn quantize_block(x: &[f32; BLOCK]) -> [u32; BLOCK_WORDS] {
    // As integers, the bits of magnitudes have the numbers' order, and those of NaN are the
    // largest.
    let mut largest = 0;
    for x in x {
        largest = largest.max(x.to_bits() & 0x7fff_ffff);
    }
    let (scale, inverse) = scale_and_inverse(largest);
    let (mut bytes, mut sums) = ([0u8; BLOCK], [0; 2]);
    for (at, (x, byte)) in x.iter().zip(&mut bytes).enumerate() {
        // Adding 1.5 · 2^23 leaves an integer in the low bits: rounded, ties to even.
        let whole = (x * inverse + 12_582_912.0).to_bits() as i8;
        *byte = whole as u8;
        sums[at / 16] += i32::from(whole);
    }
    let mut words = [0; BLOCK_WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    finish(&mut words, scale, sums);
    words
}

/// [`quantize_block`] with AVX-512.
///
/// # Safety
/// The machine has AVX-512 with F, BW, VL, DQ and VNNI.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn quantize_block_avx512(x: &[f32; BLOCK]) -> [u32; BLOCK_WORDS] {
    use std::arch::x86_64::*;
    // SAFETY: the loads are of the block's two halves; the stores of 16 bytes are within 48.
    unsafe {
        let halves = [_mm512_loadu_ps(x.as_ptr()), _mm512_loadu_ps(x.as_ptr().add(16))];
        let magnitude =
            |half| _mm512_and_si512(_mm512_castps_si512(half), _mm512_set1_epi32(0x7fff_ffff));
        let largest = _mm512_max_epu32(magnitude(halves[0]), magnitude(halves[1]));
        let (scale, inverse) = scale_and_inverse(_mm512_reduce_max_epu32(largest));
        let (mut words, mut sums) = ([0u32; BLOCK_WORDS], [0; 2]);
        for (index, half) in halves.into_iter().enumerate() {
            let whole = _mm512_cvtps_epi32(_mm512_mul_ps(half, _mm512_set1_ps(inverse)));
            let bytes = _mm512_cvtepi32_epi8(whole);
            _mm_storeu_si128(words.as_mut_ptr().add(4 * index).cast(), bytes);
            // Sums sixteen signed bytes by way of four sums of four.
            let sum = _mm_dpbusd_epi32(_mm_setzero_si128(), _mm_set1_epi8(1), bytes);
            let sum = _mm_add_epi32(sum, _mm_unpackhi_epi64(sum, sum));
            sums[index] = _mm_cvtsi128_si32(sum) + _mm_extract_epi32::<1>(sum);
        }
        finish(&mut words, scale, sums);
        words
    }
}

/// Writes the words that follow the bytes.
#[inline(always)]
fn finish(words: &mut [u32; BLOCK_WORDS], scale: f32, sums: [i32; 2]) {
    words[8] = scale.to_bits();
    words[9] = sums[0] as u32;
    words[10] = sums[1] as u32;
    words[11] = (scale * (sums[0] + sums[1]) as f32).to_bits();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_simd_level_quantizes_to_the_same_bits() {
        let inputs = 96;
        for rows in 1..=MAX_TILE_WIDTH {
            let mut x: Vec<f32> = (0..rows * inputs)
                .map(|n| ((n * 7919 % 1009) as f32 / 504.5 - 1.0).powi(5) * 30.0)
                .collect();
            // Ties, zeros, numbers that are too small, and the largest.
            x[..6].copy_from_slice(&[127.0, 0.5, 1.5, -2.5, 126.5, -127.0]);
            x[32..64].fill(-0.0);
            x[64..96].fill(1e-38);
            x[70] = f32::MAX / 200.0;
            let len = tile_width(rows) * inputs / BLOCK * BLOCK_WORDS;
            let mut twin = vec![7; len];
            quantize_tile(Level::Portable, &x, inputs, &mut twin);
            for level in Level::available() {
                let mut words = vec![9; len];
                quantize_tile(level, &x, inputs, &mut words);
                assert_eq!(words, twin, "{level:?}");
            }
        }
    }

    #[test]
    fn quantization_error_is_at_most_half_a_step() {
        let x: [f32; BLOCK] = std::array::from_fn(|n| ((n as f32) * 1.7).sin() * n as f32);
        let words = quantize_block(&x);
        let scale = f32::from_bits(words[8]);
        let bytes = words[..8].iter().flat_map(|word| word.to_le_bytes()).map(|byte| byte as i8);
        let mut sums = [0; 2];
        for (at, (x, byte)) in x.into_iter().zip(bytes).enumerate() {
            assert!((x - f32::from(byte) * scale).abs() <= scale * 0.501, "{x} is not {byte}");
            sums[at / 16] += i32::from(byte);
        }
        assert_eq!([words[9], words[10]].map(|sum| sum as i32), sums);
        assert_eq!(f32::from_bits(words[11]), scale * (sums[0] + sums[1]) as f32);
    }
}
