//! The trait of a weight format, and helpers that interleave rows.

use super::PANEL_ROWS;
use super::activations::{BLOCK, TileBlock};
use super::lanes::Sixteen;

/// A format of quantized weights, packed for sixteen rows side by side.
pub(super) trait Format {
    /// Numbers per block: a multiple of 32.
    const BLOCK: usize;
    /// Bytes of one row's block, in the file and packed.
    const BYTES: usize;

    /// Packs one block of each of sixteen rows into `16 · BYTES` bytes.
    fn pack(rows: [&[u8]; PANEL_ROWS], out: &mut [u8]);

    /// Adds the products of a block to the sums of `C` columns.
    ///
    /// # Safety
    /// The machine has the instructions of `S`; `block` points to a packed block of sixteen rows,
    /// and `x` has its `BLOCK / 32` blocks.
    unsafe fn add_block<S: Sixteen, const C: usize>(
        block: *const u8,
        x: &[TileBlock<C>],
        sums: &mut [S::Floats; C],
    );
}

/// Multiplies one panel by one tile. Returns, per column, the products of its sixteen rows.
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
    // SAFETY: the caller has the instructions; both slices are cut into whole blocks.
    unsafe {
        let mut sums = [S::splat_float(0.0); C];
        for (block, x) in panel.chunks_exact(bytes).zip(x.chunks_exact(blocks)) {
            F::add_block::<S, C>(block.as_ptr(), x, &mut sums);
        }
        sums
    }
}

/// Repeats a block for every number in the list, with the number as a constant.
///
/// Without this the compiler keeps such loops and computes shifts and offsets in every round, or it
/// interleaves the rounds of an unrolled loop until the sums no longer fit into the registers. The
/// fence keeps it from moving reads from one round to another; with eight columns that is two
/// fifths faster. It emits no instruction, so the processor may still reorder reads.
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

/// Interleaves the rows' two bytes at `at`.
pub(super) fn halves(rows: [&[u8]; PANEL_ROWS], at: usize, out: &mut [u8]) {
    for (row, out) in rows.iter().zip(out.as_chunks_mut::<2>().0) {
        out.copy_from_slice(&row[at..at + 2]);
    }
}

/// Interleaves the rows' words from `at` on, as many as `out` holds.
pub(super) fn words(rows: [&[u8]; PANEL_ROWS], at: usize, out: &mut [u8]) {
    for (index, out) in out.as_chunks_mut::<{ 4 * PANEL_ROWS }>().0.iter_mut().enumerate() {
        for (row, out) in rows.iter().zip(out.as_chunks_mut::<4>().0) {
            out.copy_from_slice(&row[at + 4 * index..][..4]);
        }
    }
}
