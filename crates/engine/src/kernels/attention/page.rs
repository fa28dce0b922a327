//! Loads pages: as stored or widened, and numbers of either type as f32.

use std::ops::Range;

use half::f16;

use crate::kernels::simd::{Lanes, Level, dispatch};
use crate::layout::LayerPages;

/// Returns one page of one head: as stored if `as_stored`, else widened to f32 in `scratch`.
pub(super) fn page_of<'a>(
    level: Level,
    pages: LayerPages<'a>,
    range: Range<usize>,
    as_stored: bool,
    scratch: &'a mut Vec<f32>,
) -> LayerPages<'a> {
    match pages {
        LayerPages::F32(numbers) => LayerPages::F32(&numbers[range]),
        LayerPages::F16(numbers) if as_stored => LayerPages::F16(&numbers[range]),
        LayerPages::F16(numbers) => {
            scratch.resize(range.len(), 0.0);
            widen(level, &numbers[range], scratch);
            LayerPages::F32(scratch)
        }
    }
}

/// The type of a number in a page: f32 or f16.
pub(super) trait Stored: Copy {
    /// Loads `L::N` numbers as f32.
    ///
    /// # Safety
    /// The machine has the instructions of `L`, and `from` points to `L::N` numbers.
    unsafe fn load<L: Lanes>(from: *const Self) -> L;
}

impl Stored for f32 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const Self) -> L {
        // SAFETY: see the trait.
        unsafe { L::load(from) }
    }
}

impl Stored for f16 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const Self) -> L {
        // SAFETY: see the trait.
        unsafe { L::load_halves(from) }
    }
}

dispatch!(fn widen = widen_kernel(from: &[f16], to: &mut [f32]));
#[inline(always)]
unsafe fn widen_kernel<L: Lanes>(from: &[f16], to: &mut [f32]) {
    assert!(from.len() == to.len() && from.len().is_multiple_of(L::N));
    for at in (0..from.len()).step_by(L::N) {
        // SAFETY: both slices have the same length, a multiple of `N`.
        unsafe { L::load_halves(from.as_ptr().add(at)).store(to.as_mut_ptr().add(at)) };
    }
}
