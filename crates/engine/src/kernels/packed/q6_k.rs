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
            for (sub, x) in x.iter().enumerate() {
                let (half, quarter) = (sub / 4, sub % 4);
                let low = block.add((16 * half + 8 * (quarter % 2)) * 64);
                let high = block.add(2048 + 8 * half * 64);
                let scales = S::load(block.add(3072 + sub / 2 * 64));
                let scale =
                    |of: usize| S::to_floats(S::signed_byte(scales, (2 * (sub % 2) + of) as u32));
                let scales = [S::mul(d, scale(0)), S::mul(d, scale(1))];
                let mut products = [S::splat_float(0.0); C];
                for of in 0..2 {
                    let mut dots = x.sums[of].map(|sum| S::splat(-32 * sum));
                    for group in 4 * of..4 * of + 4 {
                        let low =
                            S::shift_right(S::load(low.add(group * 64)), (quarter / 2 * 4) as u32);
                        let high = S::move_bits(S::load(high.add(group * 64)), 2 * quarter, 4);
                        let w = S::or(S::and(low, nibble), S::and(high, top));
                        for (dot, x) in dots.iter_mut().zip(x.bytes[group]) {
                            *dot = S::dot(*dot, w, S::splat(x));
                        }
                    }
                    for (product, dot) in products.iter_mut().zip(dots) {
                        *product = S::mul_add(S::to_floats(dot), scales[of], *product);
                    }
                }
                for column in 0..C {
                    let scale = S::splat_float(x.scales[column]);
                    sums[column] = S::mul_add(products[column], scale, sums[column]);
                }
            }
        }
    }
}
