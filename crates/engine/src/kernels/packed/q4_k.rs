//! Q4_K: 256 numbers in 144 bytes, `w = d · scale · q - dmin · min` with a 6-bit scale and minimum
//! for every 32 numbers. Source: `block_q4_K` in ggml-common.h.
//!
//! ```text
//! bytes of the packed block (sixteen rows interleaved; a word is 4 bytes of each row)
//!      0  d      16 × f16
//!     32  dmin   16 × f16
//!     64  scales 3 words: see `Scales`
//!    256  quants 32 words; word 8p + g of 0..32:
//!                low nibbles   numbers 64p      + 4g .. + 4
//!                high nibbles  numbers 64p + 32 + 4g .. + 4
//! ```

use super::activations::TileBlock;
use super::format::{Format, halves, unrolled, words};
use super::lanes::Sixteen;

pub(super) struct Q4K;

impl Format for Q4K {
    const BLOCK: usize = 256;
    const BYTES: usize = 144;

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
            let nibble = S::splat(0x0f0f_0f0f);
            unrolled!(SUB in [0 1 2 3 4 5 6 7] {
                let x = &x[SUB];
                let quants = block.add(256 + SUB / 2 * 8 * 64);
                let mut dots = [S::splat(0); C];
                for (group, x) in x.bytes.iter().enumerate() {
                    let w = S::load(quants.add(group * 64));
                    let w = S::and(S::shift_right(w, (SUB % 2 * 4) as u32), nibble);
                    for (dot, x) in dots.iter_mut().zip(x) {
                        *dot = S::dot(*dot, w, S::splat(*x));
                    }
                }
                scales.add(SUB, dots, x, sums);
            });
        }
    }
}

/// The scales of a packed Q4_K or Q5_K block: the part before the quants.
///
/// Words as in the file, a byte for each of four sub-blocks of 32 numbers:
///
/// ```text
///          bits 7 6        bits 5 .. 0
/// word 0   scale 4..8 high scale 0..4
/// word 1   min 4..8 high   min 0..4
/// word 2   bits 7..4: min 4..8 low, bits 3..0: scale 4..8 low
/// ```
pub(super) struct Scales<S: Sixteen> {
    d: S::Floats,
    minus_dmin: S::Floats,
    /// Sub-blocks 0..4 and 4..8, one byte each.
    scales: [S::Ints; 2],
    mins: [S::Ints; 2],
}

impl<S: Sixteen> Scales<S> {
    /// Loads the scales of sixteen rows.
    ///
    /// # Safety
    /// The machine has the instructions of `S`, and `block` points to at least 256 bytes.
    #[inline(always)]
    pub(super) unsafe fn load(block: *const u8) -> Self {
        // SAFETY: see above.
        unsafe {
            let [low, mins, high] = [64, 128, 192].map(|at| S::load(block.add(at)));
            let (six, four) = (S::splat(0x3f3f_3f3f), S::splat(0x0f0f_0f0f));
            let two = S::splat(0x3030_3030);
            // The high bits move to bits 4 and 5 of their byte; the mask clears the others.
            let top = |word| S::and(S::shift_right(word, 2), two);
            Self {
                d: S::load_halves(block),
                minus_dmin: S::mul(S::load_halves(block.add(32)), S::splat_float(-1.0)),
                scales: [S::and(low, six), S::or(S::and(high, four), top(low))],
                mins: [S::and(mins, six), S::or(S::and(S::shift_right(high, 4), four), top(mins))],
            }
        }
    }

    /// Adds the products of sub-block `sub` to the sums. `dots` are its sums of `q · b`.
    ///
    /// # Safety
    /// The machine has the instructions of `S`.
    #[inline(always)]
    pub(super) unsafe fn add<const C: usize>(
        &self,
        sub: usize,
        dots: [S::Ints; C],
        x: &TileBlock<C>,
        sums: &mut [S::Floats; C],
    ) {
        // SAFETY: see above.
        unsafe {
            let byte = |word| {
                S::to_floats(S::and(S::shift_right(word, (sub % 4 * 8) as u32), S::splat(0xff)))
            };
            let scale = S::mul(self.d, byte(self.scales[sub / 4]));
            let minus_min = S::mul(self.minus_dmin, byte(self.mins[sub / 4]));
            for column in 0..C {
                let scale = S::mul(scale, S::splat_float(x.scales[column]));
                let total = S::splat_float(x.totals[column]);
                sums[column] = S::mul_add(S::to_floats(dots[column]), scale, sums[column]);
                sums[column] = S::mul_add(minus_min, total, sums[column]);
            }
        }
    }
}
