//! Q5_K: 256 numbers in 176 bytes. As Q4_K, with the fifth bits stored separately. Source:
//! `block_q5_K` in ggml-common.h.
//!
//! ```text
//! bytes of the packed block (sixteen rows interleaved; a word is 4 bytes of each row)
//!      0  d, dmin and scales as in Q4_K
//!    256  fifth bits 8 words; word g, bit s of each byte: numbers 32s + 4g .. + 4
//!    768  quants     32 words as in Q4_K
//! ```

use super::activations::TileBlock;
use super::format::{Format, halves, unrolled, words};
use super::lanes::Sixteen;
use super::q4_k::Scales;

pub(super) struct Q5K;

impl Format for Q5K {
    const BLOCK: usize = 256;
    const BYTES: usize = 176;

    fn pack(rows: [&[u8]; 16], out: &mut [u8]) {
        halves(rows, 0, &mut out[..32]);
        halves(rows, 2, &mut out[32..64]);
        words(rows, 4, &mut out[64..]);
    }

    #[inline(always)]
    unsafe fn add_block<S: Sixteen, const C: usize>(
        block: *const u8,
        x: &[TileBlock<C>],
        sums: &mut [S::Floats; C],
    ) {
        // SAFETY: see the trait; the offsets follow the layout above.
        unsafe {
            let scales = Scales::<S>::load(block);
            let (nibble, fifth) = (S::splat(0x0f0f_0f0f), S::splat(0x1010_1010));
            unrolled!(SUB in [0 1 2 3 4 5 6 7] {
                let x = &x[SUB];
                let quants = block.add(768 + SUB / 2 * 8 * 64);
                let shift = (SUB % 2 * 4) as u32;
                let mut dots = [S::splat(0); C];
                for (group, x) in x.bytes.iter().enumerate() {
                    let low =
                        S::and(S::shift_right(S::load(quants.add(group * 64)), shift), nibble);
                    let bits = S::load(block.add(256 + group * 64));
                    let w = S::or(low, S::and(S::move_bits(bits, SUB, 4), fifth));
                    for (dot, x) in dots.iter_mut().zip(x) {
                        *dot = S::dot(*dot, w, S::splat(*x));
                    }
                }
                scales.add(SUB, dots, x, sums);
            });
        }
    }
}
