//! Compares quantization with llama.cpp's quantizer, tensor by tensor.

use std::path::{Path, PathBuf};

use candle_core::Device;
use candle_core::quantized::{GgmlDType, ggml_file};

use super::quantize::Floats;
use super::shards::Float;
use super::*;
use crate::gguf::GgufFile;

fn wide() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wide")
}

fn open(quantization: Quantization) -> SafetensorsModel {
    SafetensorsModel::open(wide().join("hf"), quantization).unwrap()
}

fn dequantized(dtype: GgmlDType, bytes: &[u8], weights: usize) -> Vec<f32> {
    let tensor = ggml_file::qtensor_from_ggml(dtype, bytes, vec![weights], &Device::Cpu).unwrap();
    tensor.dequantize(&Device::Cpu).unwrap().to_vec1().unwrap()
}

fn error(of: &[f32], from: &[f32]) -> f64 {
    let squares = of.iter().zip(from).map(|(a, b)| f64::from(a - b).powi(2));
    (squares.sum::<f64>() / of.len() as f64).sqrt()
}

/// Every matrix has the same format as in llama.cpp's file, and an error at most as large, apart from the gain
/// of llama.cpp's longer search for scales.
#[test]
fn quantization_error_is_on_par_with_llama_cpp() {
    let cases = [
        (Quantization::EightBit, "wide-q8_0.gguf", 1.001),
        (Quantization::FourBit, "wide-q4_k.gguf", 1.15),
    ];
    for (quantization, file, allowed) in cases {
        let (model, exact) = (open(quantization), open(Quantization::None));
        let file = GgufFile::open(wide().join(file)).unwrap();
        let mut compared = 0;
        for (name, info) in file.tensors() {
            let &[outputs, inputs] = info.shape.as_slice() else { continue };
            let Matrix::Exact(truth) = exact.matrix(name, outputs, inputs).unwrap() else {
                panic!("{name} was quantized")
            };
            let Matrix::Quantized(dtype, bytes) = model.matrix(name, outputs, inputs).unwrap()
            else {
                panic!("{name} was not quantized")
            };
            assert_eq!(info.dtype, dtype, "{name}");
            assert_eq!(bytes.len(), info.byte_len, "{name}");
            let ours = error(&dequantized(dtype, &bytes, truth.len()), &truth);
            let theirs = error(&dequantized(dtype, &file.data(info).unwrap(), truth.len()), &truth);
            let ratio = ours / theirs;
            println!("{name} {dtype:?}: {ours:.2e}, llama.cpp {theirs:.2e}: {ratio:.4}");
            assert!(ratio <= allowed, "{name} {dtype:?}: {ratio}");
            compared += 1;
        }
        assert_eq!(compared, 8);
    }
}

#[test]
fn row_lengths_not_divisible_by_a_block_fall_back_to_finer_formats() {
    let target = |quantization, is_head, inputs| {
        let Target { dtype, fell_back } = Target::new(quantization, is_head, inputs);
        (dtype, fell_back)
    };
    use Quantization::{EightBit, FourBit, None};
    for (quantization, is_head, inputs, expected) in [
        (FourBit, false, 2560, (GgmlDType::Q4K, false)),
        (FourBit, true, 2560, (GgmlDType::Q6K, false)),
        (FourBit, false, 896, (GgmlDType::Q8_0, true)), // Qwen2.5-0.5B
        (FourBit, true, 896, (GgmlDType::Q8_0, true)),
        (FourBit, false, 100, (GgmlDType::F32, true)),
        (EightBit, false, 896, (GgmlDType::Q8_0, false)),
        (EightBit, true, 100, (GgmlDType::F32, true)),
        (None, false, 100, (GgmlDType::F32, false)),
    ] {
        assert_eq!(target(quantization, is_head, inputs), expected, "{quantization} {inputs}");
    }
}

#[test]
fn every_float_format_is_widened_exactly_and_non_finite_is_detected() {
    use half::{bf16, f16};
    let numbers = [0.0, -1.5, 2.0_f32.powi(-14), 1024.0, -0.0078125, 3.0];
    let bytes = |float| -> Vec<u8> {
        numbers
            .iter()
            .flat_map(|&number| match float {
                Float::F32 => number.to_le_bytes().to_vec(),
                Float::F16 => f16::from_f32(number).to_le_bytes().to_vec(),
                Float::BF16 => bf16::from_f32(number).to_le_bytes().to_vec(),
            })
            .collect()
    };
    for float in [Float::F32, Float::F16, Float::BF16] {
        let (out, finite) = quantize::widen_all(float, &bytes(float));
        assert_eq!((out.as_slice(), finite), (numbers.as_slice(), true), "{float:?}");
    }
    for bad in [f32::NAN, f32::INFINITY] {
        let mut numbers = vec![1.0; 64];
        numbers[63] = bad;
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let source = Floats { float: Float::F32, bytes: Box::new(bytes.clone()), inputs: 32 };
        assert!(!quantize::quantize(&source, [2, 32], GgmlDType::Q8_0).unwrap().1);
        assert!(!quantize::widen_all(Float::F32, &bytes).1);
    }
}

#[test]
fn stored_tensor_sizes_are_known_before_loading() {
    for (quantization, file) in
        [(Quantization::EightBit, "wide-q8_0.gguf"), (Quantization::FourBit, "wide-q4_k.gguf")]
    {
        let model = open(quantization);
        let file = GgufFile::open(wide().join(file)).unwrap();
        let bytes: usize = file.tensors().map(|(_, info)| info.byte_len).sum();
        assert_eq!(model.stored().map(|tensor| tensor.bytes).sum::<usize>(), bytes);
        let weights: usize =
            file.tensors().map(|(_, info)| info.shape.iter().product::<usize>()).sum();
        assert_eq!(model.stored().map(|tensor| tensor.weights).sum::<usize>(), weights);
    }
}
