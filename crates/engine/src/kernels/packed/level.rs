//! The instruction sets that the packed kernels are compiled for.

/// An instruction set, the best first.
///
/// There is no AMX level: it would use tiles of 16 × 64 bytes in the place of registers, and needs
/// a machine with AMX to be tested on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernels) enum Level {
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Plain arrays. Where nothing better is available it quantizes activations, and multiplies the
    /// formats that candle does not know.
    Portable,
}

impl Level {
    /// Returns all levels of this machine, the best first.
    pub(in crate::kernels) fn available() -> impl Iterator<Item = Self> {
        [
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni,
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2,
            Self::Portable,
        ]
        .into_iter()
        .filter(|level| level.is_available())
    }

    /// Returns the best level of this machine.
    pub(in crate::kernels) fn best() -> Self {
        #[cfg(test)]
        if let Some(machine) = crate::kernels::machine::emulated() {
            return machine.packed_level();
        }
        Self::available().next().unwrap_or(Self::Portable)
    }

    fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            match self {
                Self::Avx512Vnni => {
                    avx2 && is_x86_feature_detected!("avx512f")
                        && is_x86_feature_detected!("avx512bw")
                        && is_x86_feature_detected!("avx512vl")
                        && is_x86_feature_detected!("avx512dq")
                        && is_x86_feature_detected!("avx512vnni")
                }
                Self::AvxVnni => avx2 && is_x86_feature_detected!("avxvnni"),
                Self::Avx2 => avx2,
                Self::Portable => true,
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        true
    }
}
