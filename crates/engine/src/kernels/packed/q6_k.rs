//! Q6_K: 256 numbers in 210 bytes, `w = d · scale · (q - 32)` with a signed 8-bit scale for every
//! 16 numbers. Source: `block_q6_K` in ggml-common.h.
//!
//! ```text
//! bytes of the packed block (sixteen rows interleaved; a word is 4 bytes of each row)
//!      0  d       16 × f16
//!     32  scales  4 words, a byte for each sub-block of 16 numbers
//!    288  quants  4 chunks of 12 words; chunk 2h + f, for g of 4f .. 4f + 4:
//!                 words 0..4   bits 5, 4 of the numbers 128h + 32t + 4g .. + 4     t of 0..4
//!                              at bits 2t + 1 and 2t of each byte
//!                 words 4..8   bits 3..0: low nibbles   numbers 128h +      4g .. + 4
//!                                         high nibbles  numbers 128h + 64 + 4g .. + 4
//!                 words 8..12  bits 3..0: low nibbles   numbers 128h + 32 + 4g .. + 4
//!                                         high nibbles  numbers 128h + 96 + 4g .. + 4
//! ```
//!
//! In the file all low bits precede all high bits. Here the bits that are read together are stored
//! together, so that the kernel reads memory sequentially, which the processor's prefetcher
//! follows.

use super::activations::TileBlock;
use super::format::{Format, halves, unrolled, words};
use super::lanes::Sixteen;

pub(super) struct Q6K;

impl Format for Q6K {
    const BLOCK: usize = 256;
    const BYTES: usize = 210;

    fn pack(rows: [&[u8]; 16], out: &mut [u8]) {
        let (scales, quants) = out.split_at_mut(288);
        halves(rows, 208, &mut scales[..32]);
        words(rows, 192, &mut scales[32..]);
        for (index, chunk) in quants.as_chunks_mut::<{ 12 * 64 }>().0.iter_mut().enumerate() {
            let (half, first) = (index / 2, index % 2 * 16);
            let (high, low) = chunk.split_at_mut(256);
            words(rows, 128 + 32 * half + first, high);
            words(rows, 64 * half + first, &mut low[..256]);
            words(rows, 64 * half + 32 + first, &mut low[256..]);
        }
    }

    #[inline(always)]
    unsafe fn add_block<S: Sixteen, const C: usize>(
        block: *const u8,
        x: &[TileBlock<C>],
        sums: &mut [S::Floats; C],
    ) {
        // SAFETY: see the trait; the offsets follow the layout above.
        unsafe {
            let d = S::load_halves(block);
            let (nibble, top) = (S::splat(0x0f0f_0f0f), S::splat(0x3030_3030));
            // Sixteen numbers at a time: they share a scale.
            unrolled!(STEP in [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] {
                const CHUNK: usize = STEP / 4;
                const QUARTER: usize = STEP % 4;
                const FIRST: usize = CHUNK % 2 * 4;
                const SUB: usize = CHUNK / 2 * 8 + QUARTER * 2 + CHUNK % 2;
                let x = &x[SUB / 2];
                let high = block.add(288 + CHUNK * 768);
                let low = high.add(256 + QUARTER % 2 * 256);
                let scale = S::load(block.add(32 + SUB / 4 * 64));
                let scale = S::mul(d, S::to_floats(S::signed_byte(scale, (SUB % 4) as u32)));
                let mut dots = [S::splat(0); C];
                for (dot, sum) in dots.iter_mut().zip(&x.sums[SUB % 2]) {
                    *dot = S::minus_shifted(S::splat(*sum), 5);
                }
                for (group, x) in x.bytes[FIRST..FIRST + 4].iter().enumerate() {
                    let low = S::load(low.add(group * 64));
                    let low = S::shift_right(low, (QUARTER / 2 * 4) as u32);
                    let high = S::move_bits(S::load(high.add(group * 64)), 2 * QUARTER, 4);
                    let w = S::or(S::and(low, nibble), S::and(high, top));
                    for (dot, x) in dots.iter_mut().zip(x) {
                        *dot = S::dot(*dot, w, S::splat(*x));
                    }
                }
                for column in 0..C {
                    let scale = S::mul(scale, S::splat_float(x.scales[column]));
                    sums[column] = S::mul_add(S::to_floats(dots[column]), scale, sums[column]);
                }
            });
        }
    }
}
