//! Q4_0: 32 numbers in 18 bytes, `w = d · (q - 8)`. Source: `block_q4_0` in ggml-common.h.
//!
//! ```text
//! bytes of the packed block (sixteen rows interleaved; a word is 4 bytes of each row)
//!      0  d       16 × f16
//!     32  quants  4 words; word g:
//!                 low nibbles   numbers      4g .. + 4
//!                 high nibbles  numbers 16 + 4g .. + 4
//! ```

use super::activations::TileBlock;
use super::format::{Format, halves, words};
use super::lanes::Sixteen;

pub(super) struct Q4;

impl Format for Q4 {
    const BLOCK: usize = 32;
    const BYTES: usize = 18;

    fn pack(rows: [&[u8]; 16], out: &mut [u8]) {
        halves(rows, 0, &mut out[..32]);
        words(rows, 2, &mut out[32..]);
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
            let d = S::load_halves(block);
            let nibble = S::splat(0x0f0f_0f0f);
            let mut dots = [S::splat(0); C];
            for (column, dot) in dots.iter_mut().enumerate() {
                *dot = S::minus_shifted(S::splat(x.sums[0][column] + x.sums[1][column]), 3);
            }
            for (group, x) in x.bytes.iter().enumerate() {
                let w = S::load(block.add(32 + group % 4 * 64));
                let w = S::and(S::shift_right(w, (group / 4 * 4) as u32), nibble);
                for (dot, x) in dots.iter_mut().zip(x) {
                    *dot = S::dot(*dot, w, S::splat(*x));
                }
            }
            for column in 0..C {
                let scale = S::mul(d, S::splat_float(x.scales[column]));
                sums[column] = S::mul_add(S::to_floats(dots[column]), scale, sums[column]);
            }
        }
    }
}
