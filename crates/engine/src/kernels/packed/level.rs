//! Which instructions the kernels use.

/// A set of instructions that there are kernels for, the best first.
///
/// AMX is not among them: it would be one more level, with tiles of 16 × 64 bytes in the place of
/// registers, and needs a machine that has it to be tested on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// What every machine has: to quantize activations, and in tests.
    Portable,
}

impl Level {
    /// All that this machine has, the best first.
    pub(super) fn available() -> impl Iterator<Item = Self> {
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

    /// The best of this machine.
    pub(super) fn best() -> Self {
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

/// Defines `$name(level, args…)`: the function `$of(args…)` compiled for the instructions of the
/// level. It is `#[inline(always)]` and plain Rust: the compiler finds the instructions.
macro_rules! on_level {
    ($(#[$doc:meta])* fn $name:ident = $of:ident($($arg:ident: $type:ty),* $(,)?)) => {
        $(#[$doc])*
        fn $name(level: $crate::kernels::packed::level::Level, $($arg: $type),*) {
            use $crate::kernels::packed::level::Level;
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
            fn avx512($($arg: $type),*) {
                $of($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            fn avx2($($arg: $type),*) {
                $of($($arg),*)
            }
            match level {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: a level is only made where its instructions are.
                Level::Avx512Vnni => unsafe { avx512($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                Level::AvxVnni | Level::Avx2 => unsafe { avx2($($arg),*) },
                Level::Portable => $of($($arg),*),
            }
        }
    };
}
pub(super) use on_level;
