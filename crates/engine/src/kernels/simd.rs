//! Vectors of f32 in the machine's widths.
//!
//! A kernel is written once over [`Lanes`] and compiled for every width; [`dispatch!`] picks one at
//! run time. On machines without a vector type here, [`Portable`] runs: plain arrays, as the
//! compiler vectorizes them.

pub(crate) mod pairs;

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use half::f16;

/// A vector of f32.
///
/// # Safety
/// Call the methods only on a machine that has the instructions of the implementing type;
/// [`dispatch!`] ensures it. Loads and stores access `N` numbers from the pointer on, at any
/// alignment.
pub(crate) unsafe trait Lanes: Copy {
    /// The number of lanes.
    const N: usize;
    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    /// Loads `N` f16 and widens them.
    unsafe fn load_halves(from: *const f16) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    /// `self * b + c`
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    unsafe fn max(self, other: Self) -> Self;
    unsafe fn min(self, other: Self) -> Self;
    /// Rounds to the nearest integer, ties to even.
    unsafe fn round(self) -> Self;
    /// Returns `self * 2^n` for integers `n` in `-126..=127`.
    unsafe fn scale(self, n: Self) -> Self;
    unsafe fn sum(self) -> f32;
    unsafe fn largest(self) -> f32;

    /// Returns e^self with a relative error below 3e-7. Inputs are clamped to `-87.0..=88.0`, so
    /// the result is never zero or infinite. Method: Cephes' `expf`, which splits off the power of
    /// two and approximates the rest by a polynomial.
    #[inline(always)]
    unsafe fn exp(self) -> Self {
        // SAFETY: see the trait.
        unsafe {
            let x = self.min(Self::splat(88.0)).max(Self::splat(-87.0));
            let n = x.mul(Self::splat(std::f32::consts::LOG2_E)).round();
            let r = n.mul_add(Self::splat(-0.693_359_4), x);
            let r = n.mul_add(Self::splat(2.121_944_4e-4), r);
            let mut p = Self::splat(1.987_569_1e-4);
            for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_66, 0.5] {
                p = p.mul_add(r, Self::splat(coefficient));
            }
            let p = p.mul_add(r.mul(r), r.add(Self::splat(1.0)));
            p.scale(n)
        }
    }
}

/// Plain arrays: runs on any machine, and is the twin that the other types are tested against.
#[derive(Clone, Copy)]
pub(crate) struct Portable<const N: usize>([f32; N]);

impl<const N: usize> Portable<N> {
    #[inline(always)]
    fn zip(self, other: Self, op: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|lane| op(self.0[lane], other.0[lane])))
    }
}

// SAFETY: needs no special instructions.
unsafe impl<const N: usize> Lanes for Portable<N> {
    const N: usize = N;
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; N])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see the trait.
        Self(unsafe { from.cast::<[f32; N]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn load_halves(from: *const f16) -> Self {
        // SAFETY: see the trait.
        Self(unsafe { from.cast::<[f16; N]>().read_unaligned() }.map(f16::to_f32))
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: see the trait.
        unsafe { to.cast::<[f32; N]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        // Not `f32::mul_add`, which is a call into libm where the instruction is missing.
        Self(std::array::from_fn(|lane| self.0[lane] * b.0[lane] + c.0[lane]))
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        self.zip(other, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        // Adding 1.5 * 2^23 shifts the fraction out of the mantissa, which rounds.
        self.zip(self, |a, _| (a + 12_582_912.0) - 12_582_912.0)
    }
    #[inline(always)]
    unsafe fn scale(self, n: Self) -> Self {
        self.zip(n, |a, n| a * f32::from_bits(((n as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        self.0.iter().sum()
    }
    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        self.0.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }
}

/// AVX2, FMA and F16C.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Avx2(__m256);

/// AVX-512F.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Avx512(__m512);

#[cfg(target_arch = "x86_64")]
macro_rules! x86_lanes {
    ($name:ident, $n:literal, $set1:ident, $load:ident, $load_halves:expr, $store:ident, $add:ident, $mul:ident,
     $div:ident, $fma:ident, $max:ident, $min:ident, $round:expr, $scale:expr, $sum:expr,
     $largest:expr) => {
        // SAFETY: called only where the instructions are available (see the trait); the loads and
        // stores are unaligned ones of `N` numbers.
        unsafe impl Lanes for $name {
            const N: usize = $n;
            #[inline(always)]
            unsafe fn splat(value: f32) -> Self {
                Self(unsafe { $set1(value) })
            }
            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                Self(unsafe { $load(from) })
            }
            #[inline(always)]
            unsafe fn load_halves(from: *const f16) -> Self {
                Self(unsafe { $load_halves(from) })
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                unsafe { $store(to, self.0) }
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                Self(unsafe { $add(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn mul(self, other: Self) -> Self {
                Self(unsafe { $mul(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn div(self, other: Self) -> Self {
                Self(unsafe { $div(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn mul_add(self, b: Self, c: Self) -> Self {
                Self(unsafe { $fma(self.0, b.0, c.0) })
            }
            #[inline(always)]
            unsafe fn max(self, other: Self) -> Self {
                Self(unsafe { $max(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn min(self, other: Self) -> Self {
                Self(unsafe { $min(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn round(self) -> Self {
                Self(unsafe { $round(self.0) })
            }
            #[inline(always)]
            unsafe fn scale(self, n: Self) -> Self {
                Self(unsafe { $scale(self.0, n.0) })
            }
            #[inline(always)]
            unsafe fn sum(self) -> f32 {
                unsafe { $sum(self.0) }
            }
            #[inline(always)]
            unsafe fn largest(self) -> f32 {
                unsafe { $largest(self.0) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
x86_lanes!(
    Avx512,
    16,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    |from: *const f16| _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())),
    _mm512_storeu_ps,
    _mm512_add_ps,
    _mm512_mul_ps,
    _mm512_div_ps,
    _mm512_fmadd_ps,
    _mm512_max_ps,
    _mm512_min_ps,
    _mm512_roundscale_ps::<0>,
    _mm512_scalef_ps,
    _mm512_reduce_add_ps,
    _mm512_reduce_max_ps
);

#[cfg(target_arch = "x86_64")]
x86_lanes!(
    Avx2,
    8,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    |from: *const f16| _mm256_cvtph_ps(_mm_loadu_si128(from.cast())),
    _mm256_storeu_ps,
    _mm256_add_ps,
    _mm256_mul_ps,
    _mm256_div_ps,
    _mm256_fmadd_ps,
    _mm256_max_ps,
    _mm256_min_ps,
    _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>,
    |a, n| {
        let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
        _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
    },
    |a| halves::<false>(a),
    |a| halves::<true>(a)
);

/// Returns the sum of eight numbers, or the largest if `LARGEST`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn halves<const LARGEST: bool>(a: __m256) -> f32 {
    let mut numbers = [0.0f32; 8];
    // SAFETY: the caller has AVX; `numbers` has room for eight.
    unsafe { _mm256_storeu_ps(numbers.as_mut_ptr(), a) };
    let merge = |a: f32, b: f32| if LARGEST { a.max(b) } else { a + b };
    let four: [f32; 4] = std::array::from_fn(|lane| merge(numbers[lane], numbers[lane + 4]));
    merge(merge(four[0], four[2]), merge(four[1], four[3]))
}

/// The instructions that a kernel is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Eight lanes in a plain array.
    Portable,
    /// One number at a time: for lengths that no width divides.
    Scalar,
}

impl Level {
    /// Returns the widest level of this machine whose width divides all of `lens`.
    pub(crate) fn best_for(lens: &[usize]) -> Self {
        let fits = |n: usize| lens.iter().all(|len| len.is_multiple_of(n));
        #[cfg(test)]
        if let Some(machine) = crate::kernels::machine::emulated() {
            let fits = |level: &Self| fits(level.width());
            return machine.simd_levels().into_iter().find(fits).unwrap_or(Self::Scalar);
        }
        #[cfg(target_arch = "x86_64")]
        {
            if fits(16) && is_x86_feature_detected!("avx512f") {
                return Self::Avx512;
            }
            if fits(8) && has_avx2() {
                return Self::Avx2;
            }
        }
        if fits(8) { Self::Portable } else { Self::Scalar }
    }

    #[cfg(test)]
    fn width(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => 16,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => 8,
            Self::Portable => 8,
            Self::Scalar => 1,
        }
    }

    /// Returns all levels of this machine whose width divides `len`.
    #[cfg(test)]
    pub(crate) fn all_for(len: usize) -> Vec<Self> {
        let mut levels = vec![Self::Scalar];
        if len.is_multiple_of(8) {
            levels.push(Self::Portable);
        }
        #[cfg(target_arch = "x86_64")]
        {
            if len.is_multiple_of(8) && has_avx2() {
                levels.push(Self::Avx2);
            }
            if len.is_multiple_of(16) && is_x86_feature_detected!("avx512f") {
                levels.push(Self::Avx512);
            }
        }
        levels
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
}

/// Defines `$name(level, args…)`, which runs `$kernel::<Lanes>(args…)` compiled for the level.
/// Kernels must be `#[inline(always)]`: only then are they compiled with the level's instructions.
macro_rules! dispatch {
    ($(#[$doc:meta])* $vis:vis fn $name:ident = $kernel:ident($($arg:ident: $type:ty),* $(,)?)) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name(level: $crate::kernels::simd::Level, $($arg: $type),*) {
            use $crate::kernels::simd::{Level, Portable};
            #[cfg(target_arch = "x86_64")]
            {
                use $crate::kernels::simd::{Avx2, Avx512};
                #[target_feature(enable = "avx512f")]
                #[allow(clippy::too_many_arguments)]
                unsafe fn avx512($($arg: $type),*) {
                    // SAFETY: this function has the instructions; the rest is the kernel's
                    // contract.
                    unsafe { $kernel::<Avx512>($($arg),*) }
                }
                #[target_feature(enable = "avx2,fma,f16c")]
                #[allow(clippy::too_many_arguments)]
                unsafe fn avx2($($arg: $type),*) {
                    // SAFETY: this function has the instructions; the rest is the kernel's
                    // contract.
                    unsafe { $kernel::<Avx2>($($arg),*) }
                }
                // SAFETY: a level is used only where its instructions are available.
                match level {
                    Level::Avx512 => return unsafe { avx512($($arg),*) },
                    Level::Avx2 => return unsafe { avx2($($arg),*) },
                    Level::Portable | Level::Scalar => {}
                }
            }
            // SAFETY: plain arrays need no special instructions.
            if level == Level::Scalar {
                unsafe { $kernel::<Portable<1>>($($arg),*) }
            } else {
                unsafe { $kernel::<Portable<8>>($($arg),*) }
            }
        }
    };
}
pub(crate) use dispatch;

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(always)]
    unsafe fn exp_all<L: Lanes>(x: &mut [f32]) {
        for chunk in x.chunks_exact_mut(L::N) {
            // SAFETY: a chunk has `N` numbers.
            unsafe { L::load(chunk.as_ptr()).exp().store(chunk.as_mut_ptr()) };
        }
    }
    dispatch!(fn run_exp = exp_all(x: &mut [f32]));

    #[inline(always)]
    unsafe fn reduce_all<L: Lanes>(x: &[f32], out: &mut (f32, f32)) {
        *out = (0.0, f32::NEG_INFINITY);
        for chunk in x.chunks_exact(L::N) {
            // SAFETY: a chunk has `N` numbers.
            let lanes = unsafe { L::load(chunk.as_ptr()) };
            out.0 += unsafe { lanes.sum() };
            out.1 = out.1.max(unsafe { lanes.largest() });
        }
    }
    dispatch!(fn run_reduce = reduce_all(x: &[f32], out: &mut (f32, f32)));

    #[test]
    fn exp_matches_std_on_every_level() {
        let inputs: Vec<f32> = (0..16_000).map(|n| (n as f32 - 8_000.0) / 100.0).collect();
        for level in Level::all_for(16) {
            let mut outputs = inputs.clone();
            run_exp(level, &mut outputs);
            for (input, output) in inputs.iter().zip(&outputs) {
                let exact = f64::from(*input).exp();
                let error = (f64::from(*output) - exact).abs() / exact;
                assert!(error < 3e-7, "{level:?}: exp({input}) = {output}, off by {error}");
            }
            let mut extremes = vec![f32::NEG_INFINITY, -1e30, -88.0, 0.0, 88.0, 1e30, 1.0, 2.0];
            extremes.extend(extremes.clone());
            run_exp(level, &mut extremes);
            assert!(extremes[..3].iter().all(|x| (0.0..2e-38).contains(x)), "{extremes:?}");
            assert_eq!(extremes[3], 1.0);
            assert!(extremes.iter().all(|x| x.is_finite()));
        }
    }

    #[inline(always)]
    unsafe fn widen_all<L: Lanes>(from: &[f16], to: &mut [f32]) {
        for (from, to) in from.chunks_exact(L::N).zip(to.chunks_exact_mut(L::N)) {
            // SAFETY: both chunks have `N` numbers.
            unsafe { L::load_halves(from.as_ptr()).store(to.as_mut_ptr()) };
        }
    }
    dispatch!(fn run_widen = widen_all(from: &[f16], to: &mut [f32]));

    #[test]
    fn every_f16_widens_exactly_on_every_level() {
        let halves: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
        for level in Level::all_for(16) {
            let mut floats = vec![0.0; halves.len()];
            run_widen(level, &halves, &mut floats);
            for (half, float) in halves.iter().zip(floats) {
                assert!(
                    half.to_f32() == float || half.is_nan() && float.is_nan(),
                    "{level:?} {half}"
                );
            }
        }
    }

    #[test]
    fn reductions_agree_on_every_level() {
        let x: Vec<f32> = (0..64).map(|n| ((n * 37) % 64) as f32 - 20.0).collect();
        for level in Level::all_for(16) {
            let mut out = (0.0, 0.0);
            run_reduce(level, &x, &mut out);
            assert_eq!(out, (736.0, 43.0), "{level:?}");
        }
    }
}
