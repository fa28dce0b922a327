//! Lesser machines than this one, for tests: whatever holds for a model must hold on each.

use std::cell::Cell;

use super::{packed, simd};

/// A machine by the instructions of its packed kernels. On [`packed::Level::Portable`] whoever loads a
/// weight gets none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Machine(packed::Level);

thread_local! {
    static PRETENDED: Cell<Option<Machine>> = const { Cell::new(None) };
}

/// What this thread makes believe to run on.
pub(super) fn pretended() -> Option<Machine> {
    PRETENDED.get()
}

impl Machine {
    /// Those that this one can pass for, the best first.
    pub(crate) fn all() -> Vec<Self> {
        packed::Level::available().map(Self).collect()
    }

    /// Runs `work` as on this machine. The kernels choose their level on the thread that asks for a
    /// product, so that holds for the threads that help, too.
    pub(crate) fn run<T>(self, work: impl FnOnce() -> T) -> T {
        let before = PRETENDED.replace(Some(self));
        let done = work();
        PRETENDED.set(before);
        done
    }

    pub(super) fn packed_level(self) -> packed::Level {
        self.0
    }

    /// What its other kernels may choose from, the widest first.
    pub(super) fn simd_levels(self) -> Vec<simd::Level> {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            packed::Level::Avx512Vnni => vec![simd::Level::Avx512, simd::Level::Avx2],
            #[cfg(target_arch = "x86_64")]
            packed::Level::AvxVnni | packed::Level::Avx2 => vec![simd::Level::Avx2],
            packed::Level::Portable => vec![simd::Level::Portable],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_passes_for_each_machine_and_for_itself_after() {
        let own = (packed::Level::best(), simd::Level::best_for(&[16]));
        for machine in Machine::all() {
            let (packed, simd) =
                machine.run(|| (packed::Level::best(), simd::Level::best_for(&[16])));
            assert_eq!(packed, machine.packed_level());
            assert_eq!(simd, machine.simd_levels()[0]);
        }
        assert_eq!((packed::Level::best(), simd::Level::best_for(&[16])), own);
        println!("{:?}", Machine::all());
    }
}
