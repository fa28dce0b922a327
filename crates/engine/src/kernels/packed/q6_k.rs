//! Q6_K: 256 numbers in 210 bytes, `w = d · scale · (q - 32)` with a signed byte of scale for
//! every 16 numbers. Source: `block_q6_K` in ggml-common.h.
//!
//! ```text
//! bytes of the packed block (sixteen rows side by side; a word is 4 bytes of each row)
//!      0  quants, bits 3..0  32 words; word 16h + 8t + g:
//!                            low nibbles   numbers 128h + 32t      + 4g .. + 4    t of 0, 1
//!                            high nibbles  numbers 128h + 32t + 64 + 4g .. + 4
//!   2048  quants, bits 5, 4  16 words; word 8h + g, bits 2t + 1 and 2t of each byte:
//!                            numbers 128h + 32t + 4g .. + 4                       t of 0..4
//!   3072  scales             4 words, a byte for each sub-block of 16 numbers
//!   3328  d                  16 × f16
//! ```

use super::activations::TileBlock;
use super::format::{Format, halves, words};
use super::lanes::Sixteen;

pub(super) struct Q6K;

impl Format for Q6K {
    const BLOCK: usize = 256;
    const BYTES: usize = 210;

    fn pack(rows: [&[u8]; 16], out: &mut [u8]) {
        let (body, d) = out.split_at_mut(3328);
        words(rows, 0, body);
        halves(rows, 208, d);
    }

    #[inline(always)]
    unsafe fn add_block<S: Sixteen, const C: usize>(
        block: *const u8,
        x: &[TileBlock<C>],
        sums: &mut [S::Floats; C],
    ) {
        // SAFETY: see the trait; the layout is above.
        unsafe {
            let d = S::load_halves(block.add(3328));
            let (nibble, top) = (S::splat(0x0f0f_0f0f), S::splat(0x3030_3030));
            // Sixteen numbers at a time, which share a scale.
            for sub in 0..16 {
                let (half, quarter, first) = (sub / 8, sub / 2 % 4, sub % 2 * 4);
                let x = &x[sub / 2];
                let low = block.add((16 * half + 8 * (quarter % 2) + first) * 64);
                let high = block.add(2048 + (8 * half + first) * 64);
                let scale = S::load(block.add(3072 + sub / 4 * 64));
                let scale = S::mul(d, S::to_floats(S::signed_byte(scale, (sub % 4) as u32)));
                let mut dots = [S::splat(0); C];
                for (dot, sum) in dots.iter_mut().zip(&x.sums[sub % 2]) {
                    *dot = S::minus_shifted(S::splat(*sum), 5);
                }
                for (group, x) in x.bytes[first..first + 4].iter().enumerate() {
                    let low = S::load(low.add(group * 64));
                    let low = S::shift_right(low, (quarter / 2 * 4) as u32);
                    let high = S::move_bits(S::load(high.add(group * 64)), 2 * quarter, 4);
                    let w = S::or(S::and(low, nibble), S::and(high, top));
                    for (dot, x) in dots.iter_mut().zip(x) {
                        *dot = S::dot(*dot, w, S::splat(*x));
                    }
                }
                for column in 0..C {
                    let scale = S::mul(scale, S::splat_float(x.scales[column]));
                    sums[column] = S::mul_add(S::to_floats(dots[column]), scale, sums[column]);
                }
            }
        }
    }
}
