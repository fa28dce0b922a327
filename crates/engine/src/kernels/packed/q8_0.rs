//! Q8_0: 32 numbers in 34 bytes, `w = d · q`. Source: `block_q8_0` in ggml-common.h.
//!
//! ```text
//! bytes of the packed block (sixteen rows interleaved; a word is 4 bytes of each row)
//!      0  d       16 × f16
//!     32  quants  8 words, each byte plus 128: VNNI needs one unsigned factor
//! ```

use super::activations::TileBlock;
use super::format::{Format, halves, words};
use super::lanes::Sixteen;
use super::products::{add_scaled, of_offset};

pub(super) struct Q8;

impl Format for Q8 {
    const BLOCK: usize = 32;
    const BYTES: usize = 34;

    fn pack(rows: [&[u8]; 16], out: &mut [u8]) {
        let (d, quants) = out.split_at_mut(32);
        halves(rows, 0, d);
        words(rows, 2, quants);
        for quant in quants {
            *quant ^= 0x80;
        }
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
            let mut dots = of_offset::<S, C>(x, 7);
            for (group, x) in x.bytes.iter().enumerate() {
                let w = S::load(block.add(32 + group * 64));
                for (dot, x) in dots.iter_mut().zip(x) {
                    *dot = S::dot_wide(*dot, w, S::splat(*x));
                }
            }
            add_scaled::<S, C>(dots, d, x, sums);
        }
    }
}
