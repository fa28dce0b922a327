//! Vector operations on sixteen lanes, one per row of a panel.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::PANEL_ROWS;

/// Operations on sixteen lanes of 32 bits. Each lane holds an integer, four bytes or an f32.
///
/// # Safety
/// Call the methods only on a machine that has the instructions of the implementing type. Loads
/// read 64 bytes ([`load_halves`](Self::load_halves) and [`load_shorts`](Self::load_shorts): 32) from the pointer on,
/// at any alignment.
pub(super) unsafe trait Sixteen {
    type Ints: Copy;
    type Floats: Copy;

    unsafe fn load(from: *const u8) -> Self::Ints;
    unsafe fn splat(value: i32) -> Self::Ints;
    unsafe fn and(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    unsafe fn or(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// Logical shift: zeros come in from the left.
    unsafe fn shift_right(a: Self::Ints, by: u32) -> Self::Ints;
    unsafe fn shift_left(a: Self::Ints, by: u32) -> Self::Ints;
    /// Rotates each lane so that bit `from` becomes bit `to`.
    #[inline(always)]
    unsafe fn move_bits(a: Self::Ints, from: usize, to: usize) -> Self::Ints {
        // SAFETY: see the trait.
        unsafe { Self::rotate_right(a, (from.wrapping_sub(to) % 32) as u32) }
    }
    unsafe fn rotate_right(a: Self::Ints, by: u32) -> Self::Ints;
    /// Returns `-(a << by)`: the start of a sum of products whose weights have an offset of `2^by`.
    unsafe fn minus_shifted(a: Self::Ints, by: u32) -> Self::Ints;
    /// Returns byte `index` of every lane, sign-extended.
    unsafe fn signed_byte(a: Self::Ints, index: u32) -> Self::Ints;
    /// Returns `sum + Σ w[i] · x[i]` over the four bytes of each lane. `w` is in `0..=127`, `x` in
    /// `-127..=127`.
    unsafe fn dot(sum: Self::Ints, w: Self::Ints, x: Self::Ints) -> Self::Ints;
    /// [`dot`](Self::dot) for `w` in `0..=255`.
    #[inline(always)]
    unsafe fn dot_wide(sum: Self::Ints, w: Self::Ints, x: Self::Ints) -> Self::Ints {
        // SAFETY: see the trait.
        unsafe { Self::dot(sum, w, x) }
    }
    unsafe fn to_floats(a: Self::Ints) -> Self::Floats;
    /// Returns the f32 that have these bits.
    unsafe fn from_bits(a: Self::Ints) -> Self::Floats;
    /// Repeats a table of sixteen bytes for [`look_up`](Self::look_up).
    unsafe fn table(bytes: &[u8; 16]) -> Self::Ints;
    /// Replaces each byte, in `0..=15`, by that of a [`table`](Self::table).
    unsafe fn look_up(table: Self::Ints, bytes: Self::Ints) -> Self::Ints;

    /// Loads sixteen bytes, and nothing more, and extends them with zeros.
    unsafe fn load_bytes(from: *const u8) -> Self::Ints;
    /// Loads sixteen u16 and extends them with zeros.
    unsafe fn load_shorts(from: *const u8) -> Self::Ints;
    /// Loads sixteen f32.
    #[inline(always)]
    unsafe fn load_floats(from: *const u8) -> Self::Floats {
        // SAFETY: see the trait.
        unsafe { Self::from_bits(Self::load(from)) }
    }
    /// Loads sixteen f16 and widens them.
    unsafe fn load_halves(from: *const u8) -> Self::Floats;
    unsafe fn splat_float(value: f32) -> Self::Floats;
    unsafe fn mul(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a · b + c`, rounded once.
    unsafe fn mul_add(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    unsafe fn store(a: Self::Floats, to: &mut [f32; PANEL_ROWS]);
}

/// Plain arrays: the twin with which the other types agree bit for bit.
pub(super) struct Portable;

// SAFETY: needs no special instructions.
unsafe impl Sixteen for Portable {
    type Ints = [i32; PANEL_ROWS];
    type Floats = [f32; PANEL_ROWS];

    unsafe fn load(from: *const u8) -> Self::Ints {
        // SAFETY: reads 64 bytes, see the trait.
        unsafe { from.cast::<Self::Ints>().read_unaligned() }
    }
    unsafe fn splat(value: i32) -> Self::Ints {
        [value; PANEL_ROWS]
    }
    unsafe fn and(a: Self::Ints, b: Self::Ints) -> Self::Ints {
        std::array::from_fn(|lane| a[lane] & b[lane])
    }
    unsafe fn or(a: Self::Ints, b: Self::Ints) -> Self::Ints {
        std::array::from_fn(|lane| a[lane] | b[lane])
    }
    unsafe fn shift_right(a: Self::Ints, by: u32) -> Self::Ints {
        a.map(|a| (a as u32 >> by) as i32)
    }
    unsafe fn shift_left(a: Self::Ints, by: u32) -> Self::Ints {
        a.map(|a| a << by)
    }
    unsafe fn rotate_right(a: Self::Ints, by: u32) -> Self::Ints {
        a.map(|a| a.rotate_right(by))
    }
    unsafe fn minus_shifted(a: Self::Ints, by: u32) -> Self::Ints {
        a.map(|a| -(a << by))
    }
    unsafe fn signed_byte(a: Self::Ints, index: u32) -> Self::Ints {
        a.map(|a| i32::from(a.to_le_bytes()[index as usize] as i8))
    }
    unsafe fn dot(sum: Self::Ints, w: Self::Ints, x: Self::Ints) -> Self::Ints {
        std::array::from_fn(|lane| {
            let pairs = w[lane].to_le_bytes().into_iter().zip(x[lane].to_le_bytes());
            sum[lane] + pairs.map(|(w, x)| i32::from(w) * i32::from(x as i8)).sum::<i32>()
        })
    }
    unsafe fn to_floats(a: Self::Ints) -> Self::Floats {
        a.map(|a| a as f32)
    }
    unsafe fn from_bits(a: Self::Ints) -> Self::Floats {
        a.map(|a| f32::from_bits(a as u32))
    }
    unsafe fn table(bytes: &[u8; 16]) -> Self::Ints {
        // Lane `n` has the bytes `4 (n % 4) ..`, as a register does.
        std::array::from_fn(|lane| {
            let at = lane % 4 * 4;
            i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        })
    }
    unsafe fn look_up(table: Self::Ints, bytes: Self::Ints) -> Self::Ints {
        bytes.map(|lane| {
            i32::from_le_bytes(lane.to_le_bytes().map(|index| {
                let index = usize::from(index);
                table[index / 4].to_le_bytes()[index % 4]
            }))
        })
    }
    unsafe fn load_bytes(from: *const u8) -> Self::Ints {
        // SAFETY: reads 16 bytes, see the trait.
        unsafe { from.cast::<[u8; PANEL_ROWS]>().read_unaligned() }.map(i32::from)
    }
    unsafe fn load_shorts(from: *const u8) -> Self::Ints {
        // SAFETY: reads 32 bytes, see the trait.
        unsafe { from.cast::<[u16; PANEL_ROWS]>().read_unaligned() }.map(i32::from)
    }
    unsafe fn load_halves(from: *const u8) -> Self::Floats {
        // SAFETY: reads 32 bytes, see the trait.
        let bits = unsafe { from.cast::<[u16; PANEL_ROWS]>().read_unaligned() };
        bits.map(|bits| half::f16::from_bits(bits).to_f32())
    }
    unsafe fn splat_float(value: f32) -> Self::Floats {
        [value; PANEL_ROWS]
    }
    unsafe fn mul(a: Self::Floats, b: Self::Floats) -> Self::Floats {
        std::array::from_fn(|lane| a[lane] * b[lane])
    }
    unsafe fn mul_add(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        std::array::from_fn(|lane| a[lane].mul_add(b[lane], c[lane]))
    }
    unsafe fn store(a: Self::Floats, to: &mut [f32; PANEL_ROWS]) {
        *to = a;
    }
}

/// AVX-512 with VNNI: one register of 512 bits.
#[cfg(target_arch = "x86_64")]
pub(super) struct Avx512Vnni;

#[cfg(target_arch = "x86_64")]
// SAFETY: called only where the instructions are available (see the trait); loads and stores are
// unaligned ones.
unsafe impl Sixteen for Avx512Vnni {
    type Ints = __m512i;
    type Floats = __m512;

    #[inline(always)]
    unsafe fn load(from: *const u8) -> __m512i {
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn splat(value: i32) -> __m512i {
        unsafe { _mm512_set1_epi32(value) }
    }
    #[inline(always)]
    unsafe fn and(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_and_si512(a, b) }
    }
    #[inline(always)]
    unsafe fn or(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_or_si512(a, b) }
    }
    #[inline(always)]
    unsafe fn shift_right(a: __m512i, by: u32) -> __m512i {
        unsafe { _mm512_srlv_epi32(a, _mm512_set1_epi32(by as i32)) }
    }
    #[inline(always)]
    unsafe fn shift_left(a: __m512i, by: u32) -> __m512i {
        unsafe { _mm512_sllv_epi32(a, _mm512_set1_epi32(by as i32)) }
    }
    #[inline(always)]
    unsafe fn rotate_right(a: __m512i, by: u32) -> __m512i {
        unsafe { _mm512_rorv_epi32(a, _mm512_set1_epi32(by as i32)) }
    }
    #[inline(always)]
    unsafe fn minus_shifted(a: __m512i, by: u32) -> __m512i {
        unsafe { _mm512_sub_epi32(_mm512_setzero_si512(), Self::shift_left(a, by)) }
    }
    #[inline(always)]
    unsafe fn signed_byte(a: __m512i, index: u32) -> __m512i {
        unsafe { _mm512_srai_epi32::<24>(Self::shift_left(a, 24 - 8 * index)) }
    }
    #[inline(always)]
    unsafe fn dot(sum: __m512i, w: __m512i, x: __m512i) -> __m512i {
        unsafe { _mm512_dpbusd_epi32(sum, w, x) }
    }
    #[inline(always)]
    unsafe fn to_floats(a: __m512i) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(a) }
    }
    #[inline(always)]
    unsafe fn from_bits(a: __m512i) -> __m512 {
        unsafe { _mm512_castsi512_ps(a) }
    }
    #[inline(always)]
    unsafe fn table(bytes: &[u8; 16]) -> __m512i {
        unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(bytes.as_ptr().cast())) }
    }
    #[inline(always)]
    unsafe fn look_up(table: __m512i, bytes: __m512i) -> __m512i {
        unsafe { _mm512_shuffle_epi8(table, bytes) }
    }
    #[inline(always)]
    unsafe fn load_bytes(from: *const u8) -> __m512i {
        unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast())) }
    }
    #[inline(always)]
    unsafe fn load_shorts(from: *const u8) -> __m512i {
        unsafe { _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast())) }
    }
    #[inline(always)]
    unsafe fn load_halves(from: *const u8) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }
    #[inline(always)]
    unsafe fn splat_float(value: f32) -> __m512 {
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn store(a: __m512, to: &mut [f32; PANEL_ROWS]) {
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), a) }
    }
}

/// Implements [`Sixteen`] with two registers of 256 bits, for AVX-VNNI and AVX2.
#[cfg(target_arch = "x86_64")]
macro_rules! two_register_lanes {
    ($name:ident, $dot:expr, $dot_wide:expr) => {
        // SAFETY: called only where the instructions are available (see the trait); loads and
        // stores are unaligned ones.
        unsafe impl Sixteen for $name {
            type Ints = [__m256i; 2];
            type Floats = [__m256; 2];

            #[inline(always)]
            unsafe fn load(from: *const u8) -> [__m256i; 2] {
                unsafe {
                    [_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(32).cast())]
                }
            }
            #[inline(always)]
            unsafe fn splat(value: i32) -> [__m256i; 2] {
                unsafe { [_mm256_set1_epi32(value); 2] }
            }
            #[inline(always)]
            unsafe fn and(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
                unsafe { [_mm256_and_si256(a[0], b[0]), _mm256_and_si256(a[1], b[1])] }
            }
            #[inline(always)]
            unsafe fn or(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
                unsafe { [_mm256_or_si256(a[0], b[0]), _mm256_or_si256(a[1], b[1])] }
            }
            #[inline(always)]
            unsafe fn shift_right(a: [__m256i; 2], by: u32) -> [__m256i; 2] {
                unsafe {
                    let by = _mm256_set1_epi32(by as i32);
                    [_mm256_srlv_epi32(a[0], by), _mm256_srlv_epi32(a[1], by)]
                }
            }
            #[inline(always)]
            unsafe fn shift_left(a: [__m256i; 2], by: u32) -> [__m256i; 2] {
                unsafe {
                    let by = _mm256_set1_epi32(by as i32);
                    [_mm256_sllv_epi32(a[0], by), _mm256_sllv_epi32(a[1], by)]
                }
            }
            #[inline(always)]
            unsafe fn rotate_right(a: [__m256i; 2], by: u32) -> [__m256i; 2] {
                // Correct for `by` = 0 too: a variable shift by 32 gives zero.
                unsafe { Self::or(Self::shift_right(a, by), Self::shift_left(a, 32 - by)) }
            }
            #[inline(always)]
            unsafe fn minus_shifted(a: [__m256i; 2], by: u32) -> [__m256i; 2] {
                unsafe {
                    let (a, zero) = (Self::shift_left(a, by), _mm256_setzero_si256());
                    [_mm256_sub_epi32(zero, a[0]), _mm256_sub_epi32(zero, a[1])]
                }
            }
            #[inline(always)]
            unsafe fn signed_byte(a: [__m256i; 2], index: u32) -> [__m256i; 2] {
                unsafe {
                    let a = Self::shift_left(a, 24 - 8 * index);
                    [_mm256_srai_epi32::<24>(a[0]), _mm256_srai_epi32::<24>(a[1])]
                }
            }
            #[inline(always)]
            unsafe fn dot(sum: [__m256i; 2], w: [__m256i; 2], x: [__m256i; 2]) -> [__m256i; 2] {
                unsafe { [$dot(sum[0], w[0], x[0]), $dot(sum[1], w[1], x[1])] }
            }
            #[inline(always)]
            unsafe fn dot_wide(
                sum: [__m256i; 2],
                w: [__m256i; 2],
                x: [__m256i; 2],
            ) -> [__m256i; 2] {
                unsafe { [$dot_wide(sum[0], w[0], x[0]), $dot_wide(sum[1], w[1], x[1])] }
            }
            #[inline(always)]
            unsafe fn to_floats(a: [__m256i; 2]) -> [__m256; 2] {
                unsafe { [_mm256_cvtepi32_ps(a[0]), _mm256_cvtepi32_ps(a[1])] }
            }
            #[inline(always)]
            unsafe fn from_bits(a: [__m256i; 2]) -> [__m256; 2] {
                unsafe { [_mm256_castsi256_ps(a[0]), _mm256_castsi256_ps(a[1])] }
            }
            #[inline(always)]
            unsafe fn table(bytes: &[u8; 16]) -> [__m256i; 2] {
                unsafe { [_mm256_broadcastsi128_si256(_mm_loadu_si128(bytes.as_ptr().cast())); 2] }
            }
            #[inline(always)]
            unsafe fn look_up(table: [__m256i; 2], bytes: [__m256i; 2]) -> [__m256i; 2] {
                unsafe {
                    [
                        _mm256_shuffle_epi8(table[0], bytes[0]),
                        _mm256_shuffle_epi8(table[1], bytes[1]),
                    ]
                }
            }
            #[inline(always)]
            unsafe fn load_bytes(from: *const u8) -> [__m256i; 2] {
                unsafe {
                    [
                        _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast())),
                        _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.add(8).cast())),
                    ]
                }
            }
            #[inline(always)]
            unsafe fn load_shorts(from: *const u8) -> [__m256i; 2] {
                unsafe {
                    [
                        _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast())),
                        _mm256_cvtepu16_epi32(_mm_loadu_si128(from.add(16).cast())),
                    ]
                }
            }
            #[inline(always)]
            unsafe fn load_halves(from: *const u8) -> [__m256; 2] {
                unsafe {
                    [
                        _mm256_cvtph_ps(_mm_loadu_si128(from.cast())),
                        _mm256_cvtph_ps(_mm_loadu_si128(from.add(16).cast())),
                    ]
                }
            }
            #[inline(always)]
            unsafe fn splat_float(value: f32) -> [__m256; 2] {
                unsafe { [_mm256_set1_ps(value); 2] }
            }
            #[inline(always)]
            unsafe fn mul(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
                unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
            }
            #[inline(always)]
            unsafe fn mul_add(a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
                unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
            }
            #[inline(always)]
            unsafe fn store(a: [__m256; 2], to: &mut [f32; PANEL_ROWS]) {
                unsafe {
                    _mm256_storeu_ps(to.as_mut_ptr(), a[0]);
                    _mm256_storeu_ps(to.as_mut_ptr().add(8), a[1]);
                }
            }
        }
    };
}

/// AVX2 with AVX-VNNI, FMA and F16C.
#[cfg(target_arch = "x86_64")]
pub(super) struct AvxVnni;

#[cfg(target_arch = "x86_64")]
two_register_lanes!(AvxVnni, _mm256_dpbusd_avx_epi32, _mm256_dpbusd_avx_epi32);

/// AVX2 with FMA and F16C.
#[cfg(target_arch = "x86_64")]
pub(super) struct Avx2;

#[cfg(target_arch = "x86_64")]
two_register_lanes!(Avx2, dot_by_pairs, dot_by_nibbles);

/// Multiplies bytes and adds pairs as i16 (127 · 127 · 2 fits), then pairs of these as i32.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn dot_by_pairs(sum: __m256i, w: __m256i, x: __m256i) -> __m256i {
    // SAFETY: the caller has AVX2.
    unsafe {
        let pairs = _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1));
        _mm256_add_epi32(sum, pairs)
    }
}

/// As [`dot_by_pairs`] for `w` up to 255, with which pairs would overflow i16: splits `w` into
/// 16 · high + low.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn dot_by_nibbles(sum: __m256i, w: __m256i, x: __m256i) -> __m256i {
    // SAFETY: the caller has AVX2.
    unsafe {
        let mask = _mm256_set1_epi8(15);
        let low = _mm256_and_si256(w, mask);
        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(w), mask);
        let low = _mm256_madd_epi16(_mm256_maddubs_epi16(low, x), _mm256_set1_epi16(1));
        let high = _mm256_madd_epi16(_mm256_maddubs_epi16(high, x), _mm256_set1_epi16(16));
        _mm256_add_epi32(sum, _mm256_add_epi32(low, high))
    }
}
