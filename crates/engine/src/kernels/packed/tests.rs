use half::f16;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::multiply::multiply_on;
use super::*;
use crate::kernels::dequantize;

/// For each format: the offsets of a block's f16 scales, and the block's numbers and bytes. MXFP4 and IQ1_M have scales
/// of another kind, see [`set_scale`].
const FORMATS: [(WeightFormat, &[usize], usize, usize); 15] = [
    (WeightFormat::Candle(GgmlDType::Q4_0), &[0], 32, 18),
    (WeightFormat::Candle(GgmlDType::Q8_0), &[0], 32, 34),
    (WeightFormat::Candle(GgmlDType::Q4K), &[0, 2], 256, 144),
    (WeightFormat::Candle(GgmlDType::Q5K), &[0, 2], 256, 176),
    (WeightFormat::Candle(GgmlDType::Q6K), &[208], 256, 210),
    (WeightFormat::Iq4Nl, &[0], 32, 18),
    (WeightFormat::Iq4Xs, &[0], 256, 136),
    (WeightFormat::Mxfp4, &[], 32, 17),
    (WeightFormat::Iq3Xxs, &[0], 256, 98),
    (WeightFormat::Iq3S, &[0], 256, 110),
    (WeightFormat::Iq2Xxs, &[0], 256, 66),
    (WeightFormat::Iq2Xs, &[0], 256, 74),
    (WeightFormat::Iq2S, &[0], 256, 82),
    (WeightFormat::Iq1S, &[0], 256, 50),
    (WeightFormat::Iq1M, &[], 256, 56),
];

/// Sets the scales of a block.
fn set_scale(format: WeightFormat, block: &mut [u8], mut scale: impl FnMut() -> f16) {
    match format {
        // The exponent of the scale.
        WeightFormat::Mxfp4 => block[0] = (scale().to_f32().to_bits() >> 23) as u8,
        WeightFormat::Iq1M => {
            let bits = scale().to_bits();
            for at in 0..4 {
                let high = &mut block[49 + 2 * at];
                *high = *high & 0x0f | ((bits >> (4 * at) & 15) as u8) << 4;
            }
        }
        _ => {
            let (_, halves, ..) = FORMATS.into_iter().find(|one| one.0 == format).unwrap();
            for at in halves {
                block[*at..at + 2].copy_from_slice(&scale().to_le_bytes());
            }
        }
    }
}

/// Makes blocks of a file format: random bits, with scales from `scale`.
fn weights(
    dtype: WeightFormat,
    numbers: usize,
    random: &mut StdRng,
    mut scale: impl FnMut(&mut StdRng) -> f16,
) -> Vec<u8> {
    let (_, _, block, bytes) = FORMATS.into_iter().find(|one| one.0 == dtype).unwrap();
    assert_eq!((dtype.block_size(), dtype.type_size()), (block, bytes));
    let mut data = vec![0; numbers / block * bytes];
    random.fill(&mut data[..]);
    for block in data.chunks_exact_mut(bytes) {
        set_scale(dtype, block, || scale(random));
    }
    data
}

fn small_scale(random: &mut StdRng) -> f16 {
    f16::from_f32(random.random_range(-0.01..0.01))
}

fn numbers(len: usize, random: &mut StdRng) -> Vec<f32> {
    (0..len).map(|_| random.random_range(-1.0f32..1.0).powi(3) * 4.0).collect()
}

fn pack(dtype: WeightFormat, outputs: usize, inputs: usize, data: &[u8]) -> Packed {
    Packed::pack_any(Kind::of(dtype).unwrap(), outputs, inputs, data).unwrap()
}

fn product(level: Level, weight: &Packed, x: &[f32]) -> Vec<f32> {
    let mut activations = Activations::default();
    activations.quantize(x, weight.inputs());
    let mut out = vec![f32::NAN; activations.rows() * weight.outputs()];
    multiply_on(level, [weight], &activations, [&mut out]);
    out
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

/// Integer sums are exact, and all levels round the same f32 sums in the same order, so results are
/// equal bit for bit.
#[test]
fn every_simd_level_computes_the_same_bits() {
    let random = &mut StdRng::seed_from_u64(1);
    for (dtype, _, block, _) in FORMATS {
        for (outputs, inputs, rows) in
            [(16, block, 1), (1, block, 1), (37, 2 * block, 3), (48, 3 * block, 16), (20, 512, 29)]
        {
            let data = weights(dtype, outputs * inputs, random, small_scale);
            let weight = pack(dtype, outputs, inputs, &data);
            let x = numbers(rows * inputs, random);
            let twin = product(Level::Portable, &weight, &x);
            assert!(twin.iter().all(|number| number.is_finite()));
            for level in Level::available() {
                let same = bits(&product(level, &weight, &x)) == bits(&twin);
                assert!(same, "{dtype:?} {outputs} x {inputs}, {rows} rows on {level:?}");
            }
        }
    }
}

#[test]
fn every_simd_level_computes_the_same_bits_for_extreme_values() {
    let random = &mut StdRng::seed_from_u64(2);
    let scales =
        [f16::ZERO, f16::from_bits(1), f16::from_bits(0x3ff), f16::MAX, f16::MIN, f16::NEG_ZERO];
    let fills: [fn(usize) -> f32; 6] = [
        |_| 0.0,
        |_| 127.0,
        |_| -127.0,
        |at| if at % 2 == 0 { 1e30 } else { -1e30 },
        |_| f32::from_bits(1),
        |at| if at == 0 { 1e-20 } else { 0.0 },
    ];
    for (dtype, _, block, bytes) in FORMATS {
        for byte in [None, Some(0x00), Some(0xff), Some(0x80), Some(0x7f), Some(0x0f), Some(0xf0)] {
            let mut data = weights(dtype, 16 * block, random, |random| {
                scales[random.random_range(0..scales.len())]
            });
            if let Some(byte) = byte {
                data.fill(byte);
                for block in data.chunks_exact_mut(bytes) {
                    set_scale(dtype, block, || f16::MAX);
                }
            }
            let weight = pack(dtype, 16, block, &data);
            for fill in fills {
                let x: Vec<f32> = (0..block).map(fill).collect();
                let twin = product(Level::Portable, &weight, &x);
                for level in Level::available() {
                    assert_eq!(
                        bits(&product(level, &weight, &x)),
                        bits(&twin),
                        "{dtype:?} {level:?}"
                    );
                }
            }
        }
    }
}

/// The expected value is the dequantized weight times the unquantized activations. The
/// difference is at most half a quantization step of each activation, plus rounding.
#[test]
fn products_match_the_dequantized_weight() {
    let random = &mut StdRng::seed_from_u64(3);
    for (dtype, ..) in FORMATS {
        let (outputs, inputs, rows) = (50, 768, 11);
        let data = weights(dtype, outputs * inputs, random, small_scale);
        let x = numbers(rows * inputs, random);
        let ours = product(Level::best(), &pack(dtype, outputs, inputs, &data), &x);
        let mut weight = vec![0.0; outputs * inputs];
        dequantize(dtype, &data, &mut weight).unwrap();
        for (row, x) in x.chunks(inputs).enumerate() {
            for (output, weight) in weight.chunks(inputs).enumerate() {
                let (mut truth, mut step, mut size) = (0.0, 0.0, 0.0);
                for (x, weight) in x.chunks(32).zip(weight.chunks(32)) {
                    let largest = x.iter().fold(0.0f32, |most, x| most.max(x.abs()));
                    for (x, weight) in x.iter().zip(weight) {
                        let (x, weight) = (f64::from(*x), f64::from(*weight));
                        truth += x * weight;
                        size += (x * weight).abs();
                        step += weight.abs() * f64::from(largest) / 254.0;
                    }
                }
                let off = (f64::from(ours[row * outputs + output]) - truth).abs();
                // The terms d · scale and dmin · min may be larger than their difference, the
                // weight.
                assert!(off <= step * 1.001 + size * 1e-5, "{dtype:?}: off by {off} of {step}");
            }
        }
    }
}

#[test]
fn several_weights_of_different_formats_are_multiplied_at_once() {
    let random = &mut StdRng::seed_from_u64(4);
    let (inputs, rows) = (1024, 130);
    let formats = [
        (WeightFormat::Candle(GgmlDType::Q4K), 100),
        (WeightFormat::Iq4Xs, 16),
        (WeightFormat::Iq2S, 300),
    ];
    let weights = formats.map(|(dtype, outputs)| {
        let data = weights(dtype, outputs * inputs, random, small_scale);
        pack(dtype, outputs, inputs, &data)
    });
    let x = numbers(rows * inputs, random);
    let mut activations = Activations::default();
    activations.quantize(&x, inputs);
    let mut outs = formats.map(|(_, outputs)| vec![0.0; rows * outputs]);
    let [a, b, c] = &mut outs;
    multiply([&weights[0], &weights[1], &weights[2]], &activations, [a, b, c]);
    for (weight, out) in weights.iter().zip(&outs) {
        // Row by row: a product does not depend on the other rows and weights.
        for (x, out) in x.chunks(inputs).zip(out.chunks(weight.outputs())) {
            assert_eq!(bits(&product(Level::Portable, weight, x)), bits(out));
        }
    }
}

#[test]
fn non_finite_activations_give_non_finite_products() {
    let random = &mut StdRng::seed_from_u64(5);
    for (dtype, ..) in FORMATS {
        let data = weights(dtype, 16 * 256, random, |_| f16::ONE);
        let weight = pack(dtype, 16, 256, &data);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = numbers(256, random);
            x[77] = bad;
            for level in Level::available() {
                let out = product(level, &weight, &x);
                assert!(
                    out.iter().all(|number| !number.is_finite()),
                    "{dtype:?} {level:?}: {out:?}"
                );
            }
        }
    }
}

/// Scales of a damaged file: the products are not finite, on every level and in the same places.
#[test]
fn non_finite_scales_give_non_finite_products() {
    let random = &mut StdRng::seed_from_u64(8);
    let with_halves = FORMATS.into_iter().filter(|(_, halves, ..)| !halves.is_empty());
    for (dtype, halves, block, bytes) in with_halves {
        for bad in [f16::NAN, f16::INFINITY, f16::NEG_INFINITY] {
            let mut data = weights(dtype, 16 * 512, random, |_| f16::ONE);
            // In the fourth row, the last block.
            let at = (4 * 512 / block - 1) * bytes + halves[0];
            data[at..at + 2].copy_from_slice(&bad.to_le_bytes());
            let weight = pack(dtype, 16, 512, &data);
            let x = numbers(3 * 512, random);
            let twin = product(Level::Portable, &weight, &x);
            for level in Level::available() {
                let out = product(level, &weight, &x);
                for (place, (out, twin)) in out.iter().zip(&twin).enumerate() {
                    let of_the_row = place % 16 == 3;
                    assert_eq!(out.is_finite(), !of_the_row, "{dtype:?} {level:?} {bad} {place}");
                    let same = out.to_bits() == twin.to_bits() || out.is_nan() && twin.is_nan();
                    assert!(same, "{dtype:?} {level:?} {bad} {place}: {out} is not {twin}");
                }
            }
        }
    }
}

#[test]
fn weights_of_the_wrong_size_are_refused() {
    let error = Packed::pack_any(Kind::Q4K, 16, 256, &[0; 144 * 15]).unwrap_err().to_string();
    assert!(error.contains("16 x 256 weights of Q4K"), "{error}");
    assert!(Packed::pack_any(Kind::Q8_0, 1, 33, &[0; 34]).is_err());
}

/// Measures; run by `cargo test --release -p qwen-queue-engine --lib rates -- --ignored
/// --nocapture`.
#[test]
#[ignore = "measures"]
fn rates() {
    let random = &mut StdRng::seed_from_u64(6);
    let (outputs, inputs) = (6144, 1024);
    for (dtype, ..) in FORMATS {
        let data = weights(dtype, outputs * inputs, random, small_scale);
        let weight = pack(dtype, outputs, inputs, &data);
        let levels = Level::available().filter(|level| *level != Level::Portable);
        let cases = levels.flat_map(|level| [1, 2, 4, 8, 128].map(|rows| (level, rows)));
        for (level, rows) in cases {
            let mut activations = Activations::default();
            let x = numbers(rows * inputs, random);
            let mut out = vec![0.0; rows * outputs];
            let mut least = [f64::INFINITY; 2];
            for _ in 0..if rows > 100 { 10 } else { 60 } {
                let begin = std::time::Instant::now();
                activations.quantize(&x, inputs);
                let quantized = begin.elapsed().as_secs_f64();
                multiply_on(level, [&weight], &activations, [&mut out]);
                let all = begin.elapsed().as_secs_f64();
                least = [least[0].min(quantized), least[1].min(all - quantized)];
            }
            println!(
                "{dtype:?} {level:?} {rows:4} rows: {:8.1} us, {:7.1} G multiply-adds/s, {:5.1} GB/s; quantized in {:.1} us",
                least[1] * 1e6,
                (rows * outputs * inputs) as f64 / least[1] / 1e9,
                data.len() as f64 / least[1] / 1e9,
                least[0] * 1e6,
            );
        }
    }
}

/// As [`rates`], on all threads, with weights that are read from memory.
#[test]
#[ignore = "measures"]
fn measure_multi_thread_product_rates_from_memory() {
    let random = &mut StdRng::seed_from_u64(7);
    let (outputs, inputs) = (98_304, 1024);
    for (dtype, ..) in FORMATS {
        let data = weights(dtype, outputs * inputs, random, small_scale);
        let weight = pack(dtype, outputs, inputs, &data);
        for rows in [1, 2, 4, 8, 16] {
            let mut activations = Activations::default();
            activations.quantize(&numbers(rows * inputs, random), inputs);
            let mut out = vec![0.0; rows * outputs];
            let mut least = f64::INFINITY;
            for _ in 0..6 {
                let begin = std::time::Instant::now();
                multiply([&weight], &activations, [&mut out]);
                least = least.min(begin.elapsed().as_secs_f64());
            }
            println!(
                "{dtype:?} {rows:2} rows: {:6.2} ms, {:6.1} G multiply-adds/s, {:5.1} GB/s",
                least * 1e3,
                (rows * outputs * inputs) as f64 / least / 1e9,
                data.len() as f64 / least / 1e9,
            );
        }
    }
}
