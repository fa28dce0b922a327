//! Work shared among the threads that multiply matrices.

use std::ops::Range;

/// Simple operations that are done on one thread before others are woken: about ten microseconds.
/// Threads that meet for less lose more than they gain, and on a busy machine each meeting may wait
/// for a whole time slice of somebody else.
const WORTH_SHARING: usize = 1 << 16;

/// Runs `work` on all of `0..items`, in pieces, each run by one thread; `cost` is about how many
/// simple operations that is in all. The threads are candle's, the same that multiply the matrices,
/// so that no two pools fight for the cores. They sleep between steps.
pub(crate) fn for_pieces(items: usize, cost: usize, work: impl Fn(Range<usize>) + Sync) {
    if items <= 1 || cost < WORTH_SHARING {
        work(0..items);
    } else {
        candle_core::utils::barrier_pool().execute_chunked(items, work);
    }
}

/// A slice whose parts are written by several threads, none by two.
#[derive(Clone, Copy)]
pub(crate) struct SharedOut<'a> {
    start: *mut f32,
    len: usize,
    _borrow: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: it only hands out parts, and whoever takes one promises that nobody else has it.
unsafe impl Send for SharedOut<'_> {}
// SAFETY: as above.
unsafe impl Sync for SharedOut<'_> {}

impl<'a> SharedOut<'a> {
    pub(crate) fn new(slice: &'a mut [f32]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), _borrow: std::marker::PhantomData }
    }

    /// One part.
    ///
    /// # Safety
    /// No other part that overlaps it may be in use.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &'a mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len, "a part beyond the slice");
        // SAFETY: inside the slice, which is borrowed for 'a; alone by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}
