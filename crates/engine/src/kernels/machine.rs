//! Emulates machines with fewer instructions in tests: a model must give the same answer on each.

use std::cell::Cell;

use super::{packed, simd};

/// A machine, identified by the level of its packed kernels. On [`packed::Level::Portable`],
/// weights are not packed and candle multiplies them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Machine(packed::Level);

thread_local! {
    static EMULATED: Cell<Option<Machine>> = const { Cell::new(None) };
}

/// The machine that this thread emulates, if any.
pub(super) fn emulated() -> Option<Machine> {
    EMULATED.get()
}

impl Machine {
    /// Returns the machines that this one can emulate, the best first.
    pub(crate) fn all() -> Vec<Self> {
        packed::Level::available().map(Self).collect()
    }

    /// Runs `work` as if on this machine. Kernels choose their level on the calling thread, so the
    /// choice holds for the pool's threads too.
    pub(crate) fn run<T>(self, work: impl FnOnce() -> T) -> T {
        let before = EMULATED.replace(Some(self));
        let done = work();
        EMULATED.set(before);
        done
    }

    pub(super) fn packed_level(self) -> packed::Level {
        self.0
    }

    /// The levels that its other kernels may choose from, the widest first.
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
    fn machine_emulation_sets_the_simd_levels_and_restores_them() {
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
