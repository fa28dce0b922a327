//! Formats of 4 bits that are indices of sixteen values: IQ4_NL, IQ4_XS and MXFP4.
//!
//! Source: `block_iq4_nl`, `block_iq4_xs` and `block_mxfp4` in ggml-common.h. 32 numbers are 16 bytes: the low
//! nibbles are the first 16 numbers, the high ones the others.

use half::f16;

/// The values of IQ4_NL and IQ4_XS. Source: `kvalues_iq4nl` in ggml-common.h.
pub(super) const IQ4: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// The values of MXFP4, doubled: floats with two bits of exponent and one of mantissa, after the
/// [specification](https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf).
pub(super) const MXFP4: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// Dequantizes blocks of IQ4_NL: `d`, then 16 bytes.
pub(super) fn dequantize_iq4_nl(blocks: &[u8], out: &mut [f32]) {
    for (block, out) in blocks.chunks_exact(18).zip(out.as_chunks_mut::<32>().0) {
        scaled(&IQ4, half(block), &block[2..], out);
    }
}

/// Dequantizes blocks of IQ4_XS: `d`, the high 2 bits of eight scales, their low 4 bits, then 8 · 16 bytes. A scale is
/// 32 too large.
pub(super) fn dequantize_iq4_xs(blocks: &[u8], out: &mut [f32]) {
    for (block, out) in blocks.chunks_exact(136).zip(out.as_chunks_mut::<256>().0) {
        let (d, high) = (half(block), u16::from_le_bytes([block[2], block[3]]));
        for (part, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let low = block[4 + part / 2] >> (4 * (part % 2)) & 15;
            let bits = i16::from(low) | (high >> (2 * part) & 3).cast_signed() << 4;
            scaled(&IQ4, d * f32::from(bits - 32), &block[8 + 16 * part..], out);
        }
    }
}

/// Dequantizes blocks of MXFP4: an exponent, then 16 bytes.
pub(super) fn dequantize_mxfp4(blocks: &[u8], out: &mut [f32]) {
    for (block, out) in blocks.chunks_exact(17).zip(out.as_chunks_mut::<32>().0) {
        scaled(&MXFP4, half_of_power(block[0]), &block[1..], out);
    }
}

/// Returns `2^(exponent - 128)`: half of the power of two that the byte stands for, since the values are doubled. The
/// specification has 255 as NaN; llama.cpp reads it as the largest power.
fn half_of_power(exponent: u8) -> f32 {
    let bits = match exponent {
        0 | 1 => 0x0020_0000 << exponent,
        _ => u32::from(exponent - 1) << 23,
    };
    f32::from_bits(bits)
}

fn scaled(values: &[i8; 16], scale: f32, bytes: &[u8], out: &mut [f32; 32]) {
    let (first, second) = out.split_at_mut(16);
    for ((byte, first), second) in bytes.iter().zip(first).zip(second) {
        *first = scale * f32::from(values[usize::from(byte & 15)]);
        *second = scale * f32::from(values[usize::from(byte >> 4)]);
    }
}

fn half(block: &[u8]) -> f32 {
    f16::from_le_bytes([block[0], block[1]]).to_f32()
}
