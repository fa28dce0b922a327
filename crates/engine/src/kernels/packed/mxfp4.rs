//! MXFP4: 32 numbers in 17 bytes, `w = 2^(e - 128) · value`, with 4 bits that are indices of sixteen values. Source:
//! `block_mxfp4` in ggml-common.h.
//!
//! ```text
//! bytes of the packed block (sixteen rows interleaved; a word is 4 bytes of each row)
//!      0  e       16 bytes
//!     16  quants  4 words; word g:
//!                 low nibbles   numbers      4g .. + 4
//!                 high nibbles  numbers 16 + 4g .. + 4
//! ```

use super::activations::TileBlock;
use super::format::{Format, words};
use super::lanes::Sixteen;
use super::products::{add_scaled, of_looked_up};
use crate::kernels::nibbles::MXFP4;

pub(super) struct Mx4;

/// The values plus 16: products need one unsigned factor.
const VALUES: [u8; 16] = {
    let (mut values, mut at) = ([0; 16], 0);
    while at < 16 {
        values[at] = (MXFP4[at] + 16) as u8;
        at += 1;
    }
    values
};

impl Format for Mx4 {
    const BLOCK: usize = 32;
    const BYTES: usize = 17;

    fn pack(rows: [&[u8]; 16], out: &mut [u8]) {
        for (row, out) in rows.iter().zip(&mut out[..16]) {
            *out = row[0];
        }
        words(rows, 1, &mut out[16..]);
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
            // A byte is the exponent of an f32; 0, the smallest power, becomes zero.
            let power = S::from_bits(S::shift_left(S::load_bytes(block), 23));
            let d = S::mul(power, S::splat_float(0.5));
            let dots = of_looked_up::<S, C, 4>(block.add(16), S::table(&VALUES), x);
            add_scaled::<S, C>(dots, d, x, sums);
        }
    }
}
