//! What a weight format must know, and how rows are laid side by side.

use super::PANEL_ROWS;
use super::activations::{BLOCK, TileBlock};
use super::lanes::Sixteen;

/// A format of quantized weights, packed for sixteen rows side by side.
pub(super) trait Format {
    /// Numbers in a block, a multiple of 32.
    const BLOCK: usize;
    /// Bytes of a row's block, in the file and packed.
    const BYTES: usize;

    /// Packs one block of each of sixteen rows into `16 · BYTES` bytes.
    fn pack(rows: [&[u8]; PANEL_ROWS], out: &mut [u8]);

    /// Adds a block's products to the sums of `C` columns.
    ///
    /// # Safety
    /// The machine has the instructions of `S`; `block` points at a packed block, and `x` has its
    /// `BLOCK / 32` blocks.
    unsafe fn add_block<S: Sixteen, const C: usize>(
        block: *const u8,
        x: &[TileBlock<C>],
        sums: &mut [S::Floats; C],
    );
}

/// One panel times one tile: of each column its sixteen rows.
///
/// # Safety
/// The machine has the instructions of `S`.
#[inline(always)]
pub(super) unsafe fn panel_times_tile<F: Format, S: Sixteen, const C: usize>(
    panel: &[u8],
    x: &[TileBlock<C>],
) -> [S::Floats; C] {
    let (bytes, blocks) = (PANEL_ROWS * F::BYTES, F::BLOCK / BLOCK);
    assert!(panel.len() / bytes == x.len() / blocks, "a panel and a tile of different lengths");
    // SAFETY: the instructions are there by the caller's promise; both slices are cut into whole
    // blocks.
    unsafe {
        let mut sums = [S::splat_float(0.0); C];
        for (block, x) in panel.chunks_exact(bytes).zip(x.chunks_exact(blocks)) {
            F::add_block::<S, C>(block.as_ptr(), x, &mut sums);
        }
        sums
    }
}

/// Repeats a block for every number in the list, which is a constant in it.
///
/// Left to itself the compiler keeps such loops, and computes shifts and places anew in every round;
/// or it mixes the rounds of an unrolled one until sums no longer fit into the registers. So it may
/// not move reads from one round to another: at eight columns that is worth two fifths. The
/// processor itself is free to.
macro_rules! unrolled {
    ($index:ident in [$($value:literal)*] $body:block) => {
        $({
            const $index: usize = $value;
            $body
            std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
        })*
    };
}
pub(super) use unrolled;

/// Lays two bytes at `at` of every row side by side.
pub(super) fn halves(rows: [&[u8]; PANEL_ROWS], at: usize, out: &mut [u8]) {
    for (row, out) in rows.iter().zip(out.as_chunks_mut::<2>().0) {
        out.copy_from_slice(&row[at..at + 2]);
    }
}

/// Lays the words from `at` on side by side, as many as `out` takes.
pub(super) fn words(rows: [&[u8]; PANEL_ROWS], at: usize, out: &mut [u8]) {
    for (index, out) in out.as_chunks_mut::<{ 4 * PANEL_ROWS }>().0.iter_mut().enumerate() {
        for (row, out) in rows.iter().zip(out.as_chunks_mut::<4>().0) {
            out.copy_from_slice(&row[at + 4 * index..][..4]);
        }
    }
}
