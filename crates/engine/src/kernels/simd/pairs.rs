//! Products of pairs of bf16, summed in f32.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

#[cfg(target_arch = "x86_64")]
use super::Avx512;
use super::{Lanes, Portable};

/// Lanes of a vector of pairs.
pub(crate) const PAIR_LANES: usize = 16;

/// A vector of sixteen f32 that adds products of pairs of bf16. A pair is a word of 32 bits, its first number in the
/// low half.
///
/// # Safety
/// As for [`Lanes`]; [`dispatch_pairs!`] ensures the instructions. Loads and stores access sixteen words.
pub(crate) unsafe trait Pairs: Lanes {
    /// Sixteen pairs.
    type Words: Copy;
    unsafe fn load_words(from: *const u32) -> Self::Words;
    unsafe fn splat_word(word: u32) -> Self::Words;
    unsafe fn store_words(words: Self::Words, to: *mut u32);
    /// Returns `self + a[0] * b[0] + a[1] * b[1]` of each lane.
    unsafe fn add_products(self, a: Self::Words, b: Self::Words) -> Self;
    /// Rounds to pairs of bf16, ties to even.
    unsafe fn pairs_of(first: Self, second: Self) -> Self::Words;

    /// Returns 2^self with a relative error below 1.1e-4, which is small beside the rounding to bf16. Inputs are at
    /// most 0; below -126 the result is 2^-126. The polynomial interpolates at the Chebyshev nodes of -0.5..=0.5.
    #[inline(always)]
    unsafe fn power_of_two(self) -> Self {
        // SAFETY: see the trait.
        unsafe {
            let x = self.max(Self::splat(-126.0));
            let n = x.round();
            let r = n.mul_add(Self::splat(-1.0), x);
            let p = Self::splat(0.055_838_283).mul_add(r, Self::splat(0.242_639_48));
            let p = p.mul_add(r, Self::splat(0.693_136_75)).mul_add(r, Self::splat(0.999_924_54));
            p.scale(n)
        }
    }
}

/// Rounds to the bits of a bf16, ties to even. The number is finite.
#[inline(always)]
pub(crate) fn bf16_bits(number: f32) -> u32 {
    let bits = number.to_bits();
    (bits + 0x7fff + ((bits >> 16) & 1)) >> 16
}

/// Rounds two finite numbers to a pair.
#[inline(always)]
pub(crate) fn pair_of(first: f32, second: f32) -> u32 {
    bf16_bits(first) | bf16_bits(second) << 16
}

// SAFETY: needs no special instructions.
unsafe impl Pairs for Portable<PAIR_LANES> {
    type Words = [u32; PAIR_LANES];

    #[inline(always)]
    unsafe fn load_words(from: *const u32) -> Self::Words {
        // SAFETY: see the trait.
        unsafe { from.cast::<Self::Words>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn splat_word(word: u32) -> Self::Words {
        [word; PAIR_LANES]
    }
    #[inline(always)]
    unsafe fn store_words(words: Self::Words, to: *mut u32) {
        // SAFETY: see the trait.
        unsafe { to.cast::<Self::Words>().write_unaligned(words) }
    }
    #[inline(always)]
    unsafe fn add_products(self, a: Self::Words, b: Self::Words) -> Self {
        let (low, high) =
            (|word: u32| f32::from_bits(word << 16), |word: u32| f32::from_bits(word & !0xffff));
        Self(std::array::from_fn(|lane| {
            let (a, b) = (a[lane], b[lane]);
            self.0[lane] + high(a) * high(b) + low(a) * low(b)
        }))
    }
    #[inline(always)]
    unsafe fn pairs_of(first: Self, second: Self) -> Self::Words {
        std::array::from_fn(|lane| pair_of(first.0[lane], second.0[lane]))
    }
}

// SAFETY: called only where the instructions are available (see the trait); loads and stores are unaligned ones.
#[cfg(target_arch = "x86_64")]
unsafe impl Pairs for Avx512 {
    type Words = __m512i;

    #[inline(always)]
    unsafe fn load_words(from: *const u32) -> __m512i {
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn splat_word(word: u32) -> __m512i {
        unsafe { _mm512_set1_epi32(word as i32) }
    }
    #[inline(always)]
    unsafe fn store_words(words: __m512i, to: *mut u32) {
        unsafe { _mm512_storeu_si512(to.cast(), words) }
    }
    #[inline(always)]
    unsafe fn add_products(self, a: __m512i, b: __m512i) -> Self {
        // SAFETY: vectors of the same width; the caller has the instructions.
        unsafe {
            let [a, b] = [a, b].map(|words| std::mem::transmute::<__m512i, __m512bh>(words));
            Self(_mm512_dpbf16_ps(self.0, a, b))
        }
    }
    #[inline(always)]
    unsafe fn pairs_of(first: Self, second: Self) -> __m512i {
        // SAFETY: as above.
        unsafe {
            // The first numbers are in the low half; the pairs interleave both halves.
            let halves = _mm512_cvtne2ps_pbh(second.0, first.0);
            let halves = std::mem::transmute::<__m512bh, __m512i>(halves);
            let order = _mm512_set_epi16(
                31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5,
                20, 4, 19, 3, 18, 2, 17, 1, 16, 0,
            );
            _mm512_permutexvar_epi16(order, halves)
        }
    }
}

/// The instructions that a kernel on pairs is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PairLevel {
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    /// Plain arrays: the twin of the tests.
    #[cfg(test)]
    Portable,
}

impl PairLevel {
    /// Returns the best level of this machine, or `None` if bf16 is not faster than f32 on it.
    pub(crate) fn best() -> Option<Self> {
        #[cfg(test)]
        if let Some(machine) = crate::kernels::machine::emulated() {
            let widest = machine.simd_levels()[0].width();
            return Self::of_machine().filter(|_| widest == PAIR_LANES);
        }
        Self::of_machine()
    }

    fn of_machine() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512bf16")
        {
            return Some(Self::Avx512Bf16);
        }
        None
    }

    /// Returns all levels of this machine.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        Self::of_machine().into_iter().chain([Self::Portable]).collect()
    }
}

/// Defines `$name(level, args…)`, which runs `$kernel::<Pairs>(args…)` compiled for the level, as
/// [`dispatch!`](super::dispatch) does.
macro_rules! dispatch_pairs {
    ($vis:vis fn $name:ident = $kernel:ident($($arg:ident: $type:ty),* $(,)?)) => {
        #[allow(clippy::too_many_arguments)]
        $vis fn $name(level: $crate::kernels::simd::pairs::PairLevel, $($arg: $type),*) {
            use $crate::kernels::simd::pairs::PairLevel;
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
            #[allow(clippy::too_many_arguments)]
            unsafe fn avx512($($arg: $type),*) {
                // SAFETY: this function has the instructions; the rest is the kernel's contract.
                unsafe { $kernel::<$crate::kernels::simd::Avx512>($($arg),*) }
            }
            match level {
                // SAFETY: a level is used only where its instructions are available.
                #[cfg(target_arch = "x86_64")]
                PairLevel::Avx512Bf16 => unsafe { avx512($($arg),*) },
                // SAFETY: plain arrays need no special instructions.
                #[cfg(test)]
                PairLevel::Portable => unsafe {
                    $kernel::<$crate::kernels::simd::Portable<16>>($($arg),*)
                },
            }
        }
    };
}
pub(crate) use dispatch_pairs;

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(always)]
    unsafe fn pairs_kernel<P: Pairs>(x: &[f32; 32], powers: &mut [f32; 16], words: &mut [u32; 16]) {
        // SAFETY: each has the numbers of a vector.
        unsafe {
            let (first, second) = (P::load(x.as_ptr()), P::load(x.as_ptr().add(16)));
            let pairs = P::pairs_of(first, second);
            P::store_words(pairs, words.as_mut_ptr());
            let pairs = P::load_words(words.as_ptr());
            let sum = first.power_of_two().add_products(pairs, P::splat_word(pair_of(3.0, -0.5)));
            sum.store(powers.as_mut_ptr());
        }
    }
    dispatch_pairs!(fn run_pairs = pairs_kernel(x: &[f32; 32], powers: &mut [f32; 16], words: &mut [u32; 16]));

    #[test]
    fn powers_and_pairs_match_their_definitions_on_every_level() {
        for level in PairLevel::all() {
            for start in 0..800 {
                let x: [f32; 32] = std::array::from_fn(|n| -((start * 32 + n) as f32) / 200.0);
                let (mut powers, mut words) = ([0.0; 16], [0; 16]);
                run_pairs(level, &x, &mut powers, &mut words);
                for lane in 0..16 {
                    let (first, second) = (x[lane], x[lane + 16]);
                    let rounded = |x: f32| half::bf16::from_f32(x).to_f32();
                    assert_eq!(words[lane], pair_of(first, second), "{level:?}");
                    let twin = f64::from(first).max(-126.0).exp2()
                        + f64::from(rounded(first) * 3.0 - rounded(second) * 0.5);
                    let off = (f64::from(powers[lane]) - twin).abs();
                    assert!(off < 1.1e-4, "{level:?} {first}: {} is not {twin}", powers[lane]);
                }
            }
        }
        assert_eq!(bf16_bits(1.0 + 1.0 / 256.0), 0x3f80, "a tie is rounded to even");
        assert_eq!(bf16_bits(1.0 + 3.0 / 256.0), 0x3f82);
    }
}
