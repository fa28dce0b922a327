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
use super::products::{add_scaled, load_nibbles, of_offset};

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
            let mut dots = of_offset::<S, C>(x, 3);
            for (group, x) in x.bytes.iter().enumerate() {
                let w = load_nibbles::<S>(block.add(32), group);
                for (dot, x) in dots.iter_mut().zip(x) {
                    *dot = S::dot(*dot, w, S::splat(*x));
                }
            }
            add_scaled::<S, C>(dots, d, x, sums);
        }
    }
}
