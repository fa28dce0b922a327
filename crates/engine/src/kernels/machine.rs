//! Lesser machines than this one, for tests: whatever holds for a model must hold on each.

use std::cell::Cell;

use super::{packed, simd};

/// A machine by the instructions of its kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Plain arrays; whoever loads a weight there gets none of ours.
    Portable,
}

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
        let all = [
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni,
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2,
            Self::Portable,
        ];
        let available: Vec<_> = packed::Level::available().collect();
        all.into_iter().filter(|machine| available.contains(&machine.packed_level())).collect()
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
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => packed::Level::Avx512Vnni,
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => packed::Level::AvxVnni,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => packed::Level::Avx2,
            Self::Portable => packed::Level::Portable,
        }
    }

    /// What its other kernels may choose from, the widest first.
    pub(super) fn simd_levels(self) -> Vec<simd::Level> {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => vec![simd::Level::Avx512, simd::Level::Avx2],
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni | Self::Avx2 => vec![simd::Level::Avx2],
            Self::Portable => vec![simd::Level::Portable],
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
