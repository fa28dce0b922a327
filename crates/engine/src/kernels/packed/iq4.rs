//! IQ4_NL and IQ4_XS: 4 bits that are indices of sixteen values, `w = d · value`, for IQ4_XS `w = d · scale · value`
//! with a 6-bit scale for every 32 numbers. Source: `block_iq4_nl`, `block_iq4_xs` in ggml-common.h.
//!
//! ```text
//! bytes of a packed block (sixteen rows interleaved; a word is 4 bytes of each row)
//! IQ4_NL, 32 numbers in 18 bytes
//!      0  d       16 × f16
//!     32  quants  4 words; word g:
//!                 low nibbles   numbers      4g .. + 4
//!                 high nibbles  numbers 16 + 4g .. + 4
//! IQ4_XS, 256 numbers in 136 bytes
//!      0  d       16 × f16
//!     32  scales  16 × u16: bits 5, 4 of eight scales
//!     64  scales  1 word: bits 3 .. 0 of eight scales
//!    128  quants  8 times the 4 words above
//! ```

use super::activations::TileBlock;
use super::format::{Format, halves, unrolled, words};
use super::lanes::Sixteen;
use super::products::{add_scaled, of_looked_up};
use crate::kernels::nibbles::IQ4;

pub(super) struct Nl;

pub(super) struct Xs;

/// The values plus 128: products need one unsigned factor.
const VALUES: [u8; 16] = {
    let (mut values, mut at) = ([0; 16], 0);
    while at < 16 {
        values[at] = (IQ4[at] as u8) ^ 0x80;
        at += 1;
    }
    values
};

impl Format for Nl {
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
            let dots = of_looked_up::<S, C, 7>(block.add(32), S::table(&VALUES), x);
            add_scaled::<S, C>(dots, d, x, sums);
        }
    }
}

impl Format for Xs {
    const BLOCK: usize = 256;
    const BYTES: usize = 136;

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
            let d = S::load_halves(block);
            let (high, low) = (S::load_shorts(block.add(32)), S::load(block.add(64)));
            let (four, two) = (S::splat(0x0f), S::splat(0x30));
            let table = S::table(&VALUES);
            unrolled!(SUB in [0 1 2 3 4 5 6 7] {
                let x = &x[SUB];
                let dots = of_looked_up::<S, C, 7>(block.add(128 + SUB * 256), table, x);
                // The high bits move to bits 5 and 4.
                let high = S::and(S::move_bits(high, 2 * SUB, 4), two);
                let scale = S::or(high, S::and(S::shift_right(low, 4 * SUB as u32), four));
                let scale = S::mul_add(S::to_floats(scale), S::splat_float(1.0), S::splat_float(-32.0));
                add_scaled::<S, C>(dots, S::mul(d, scale), x, sums);
            });
        }
    }
}
