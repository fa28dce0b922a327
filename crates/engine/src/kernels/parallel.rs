//! Splitting work among the threads of the pool.

use std::ops::Range;

use super::pool;

/// Work, in simple operations, that is done on one thread: about ten microseconds. Waking threads
/// for less costs more than it saves, and on a busy machine each may first wait for another
/// program's time slice.
const MIN_PARALLEL_WORK: usize = 1 << 16;

/// How often the remaining work is halved, so that no thread waits long for the last piece.
const HALVING_ROUNDS: usize = 5;

/// Returns the first item of piece `piece` when `items` are cut for `threads` threads.
///
/// In each round every thread gets one piece, and the round covers half of the remaining items; the
/// last round covers all. So most of the work is done in few long walks, which the processor's
/// prefetcher follows, and the last pieces are short.
fn start_of(piece: usize, threads: usize, items: usize) -> usize {
    let (round, thread) = (piece / threads, piece % threads);
    if round > HALVING_ROUNDS {
        return items;
    }
    let left = items >> round;
    let of_round = if round == HALVING_ROUNDS { left } else { left - (left >> 1) };
    items - left + thread * of_round / threads
}

/// Pieces per thread for items of uneven duration: enough that no thread waits long for the last,
/// few enough that taking a piece costs little.
const UNEVEN_PIECES_PER_THREAD: usize = 8;

/// As [`for_pieces`], for items of uneven duration. Pass the longest first.
pub(crate) fn for_uneven_pieces(items: usize, cost: usize, work: impl Fn(Range<usize>) + Sync) {
    if items <= 1 || cost < MIN_PARALLEL_WORK {
        work(0..items);
        return;
    }
    let pieces = items.min(UNEVEN_PIECES_PER_THREAD * pool::threads());
    pool::run(pieces, &|piece| {
        work(piece * items / pieces..(piece + 1) * items / pieces);
    });
}

/// Runs `work` on all of `0..items`, cut into pieces that each run on one thread. `cost` is the
/// approximate number of simple operations in all; little work stays on the calling thread.
pub(crate) fn for_pieces(items: usize, cost: usize, work: impl Fn(Range<usize>) + Sync) {
    if items <= 1 || cost < MIN_PARALLEL_WORK {
        work(0..items);
        return;
    }
    let threads = pool::threads();
    pool::run(threads * (HALVING_ROUNDS + 1), &|piece| {
        let (start, end) = (start_of(piece, threads, items), start_of(piece + 1, threads, items));
        if start < end {
            work(start..end);
        }
    });
}

/// Runs `work` on every item with its row of `rows`, which are `width` long. Items may differ in
/// duration. `cost` is as for [`for_pieces`].
pub(crate) fn for_rows<T: Send>(
    items: &mut [T],
    rows: &mut [f32],
    width: usize,
    cost: usize,
    work: impl Fn(&mut T, &mut [f32]) + Sync,
) {
    assert!(rows.len() == items.len() * width, "as many rows as items");
    let len = items.len();
    let (items, rows) = (SharedOut::new(items), SharedOut::new(rows));
    for_uneven_pieces(len, cost, |places| {
        for place in places {
            // SAFETY: each item and its row are used by one thread.
            let (item, row) = unsafe {
                (items.part(place..place + 1), rows.part(place * width..(place + 1) * width))
            };
            work(&mut item[0], row);
        }
    });
}

/// A mutable slice that several threads write to, each to its own ranges.
pub(crate) struct SharedOut<'a, T> {
    start: *mut T,
    len: usize,
    _borrow: std::marker::PhantomData<&'a mut [T]>,
}

impl<T> Clone for SharedOut<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for SharedOut<'_, T> {}

// SAFETY: access is only through `part`, whose caller ensures that ranges do not overlap.
unsafe impl<T: Send> Send for SharedOut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedOut<'_, T> {}

impl<'a, T> SharedOut<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), _borrow: std::marker::PhantomData }
    }

    /// Returns a range of the slice. Panics if it is out of bounds.
    ///
    /// # Safety
    /// No overlapping range may be in use.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &'a mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "a part beyond the slice");
        // SAFETY: inside the slice, which is borrowed for 'a; not aliased, as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// Returns a range of the slice to read, as other threads may at the same time. Panics if it is out of
    /// bounds.
    ///
    /// # Safety
    /// No overlapping range may be written while this one is in use.
    pub(crate) unsafe fn read(&self, range: Range<usize>) -> &'a [T] {
        assert!(range.start <= range.end && range.end <= self.len, "a part beyond the slice");
        // SAFETY: inside the slice, which is borrowed for 'a; not written, as the caller promises.
        unsafe { std::slice::from_raw_parts(self.start.add(range.start), range.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_each_item_once_with_the_longest_piece_first() {
        for threads in 1..9 {
            for items in (0..70).chain([1_000, 4_097]) {
                let starts: Vec<usize> = (0..=threads * (HALVING_ROUNDS + 1))
                    .map(|piece| start_of(piece, threads, items))
                    .collect();
                assert_eq!((starts[0], starts.last()), (0, Some(&items)));
                assert!(starts.is_sorted(), "{starts:?}");
                let len = |piece: usize| starts[piece + 1] - starts[piece];
                let last = starts.len() - 2;
                assert!(len(last) <= items.div_ceil(threads << HALVING_ROUNDS), "{starts:?}");
                assert!(items < 100 || len(0).abs_diff(items / (2 * threads)) <= 1, "{starts:?}");
            }
        }
    }

    #[test]
    fn each_item_is_visited_once_with_its_row() {
        for (items, cost) in [(0, 0), (1, usize::MAX), (7, 0), (500, usize::MAX)] {
            let mut sums: Vec<f32> = (0..items).map(|item| item as f32).collect();
            let mut rows: Vec<f32> = (0..items * 3).map(|place| (place / 3) as f32).collect();
            for_rows(&mut sums, &mut rows, 3, cost, |sum, row| {
                *sum += row.iter().sum::<f32>();
                row.fill(*sum);
            });
            for (item, row) in rows.chunks(3).enumerate() {
                assert_eq!((sums[item], row), (4.0 * item as f32, &[sums[item]; 3][..]));
            }
        }
    }
}
