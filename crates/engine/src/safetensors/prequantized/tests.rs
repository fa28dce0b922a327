use std::path::{Path, PathBuf};

use super::*;

/// Matrices that another implementation quantized, with their numbers; see the fixtures' README.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/prequantized")
}

const FP8: Method = Method::Fp8 { block: [16, 32] };
const GPTQ: Method = Method::Gptq { bits: 4, zeros_less_one: true };

/// Takes the matrix `m` of a fixture, and returns its tensors and its numbers.
fn open(file: &str, method: Method) -> (Shards, Prequantized, Vec<f32>) {
    let mut shards = Shards::of_file(&folder(), file).unwrap();
    let entry = shards.tensors.remove("expected").unwrap();
    let (expected, _) = quantize::widen_all(entry.float().unwrap(), &shards.data(&entry).unwrap());
    let prequantized = Prequantized::take(method, &mut shards).unwrap();
    (shards, prequantized, expected)
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

#[test]
fn every_method_gives_the_numbers_of_the_reference_bit_for_bit() {
    for (file, method) in [
        ("fp8.safetensors", FP8),
        ("gptq.safetensors", GPTQ),
        ("gptq-v2.safetensors", Method::Gptq { bits: 4, zeros_less_one: false }),
        ("gptq-order.safetensors", GPTQ),
        ("gptq-8bit.safetensors", Method::Gptq { bits: 8, zeros_less_one: true }),
        ("awq.safetensors", Method::Awq),
    ] {
        let (shards, prequantized, expected) = open(file, method);
        // Only the matrix is left, and the bias that is not zero.
        let mut names: Vec<&str> = shards.tensors.keys().map(String::as_str).collect();
        names.sort_unstable();
        let bias: &[&str] = if file == "gptq.safetensors" { &["m.bias"] } else { &[] };
        assert_eq!(names, [bias, &["m.weight"]].concat(), "{file}");
        let shape = shards.tensors["m.weight"].shape.clone();
        let [outputs, inputs] = *shape.as_slice() else { panic!("{shape:?}") };
        assert_eq!(expected.len(), outputs * inputs);
        let source = prequantized.read("m.weight", &shards).unwrap().unwrap();
        let (numbers, finite) = quantize::exact(&*source, [outputs, inputs]);
        assert!(finite && bits(&numbers) == bits(&expected), "{file}");
        // Some rows by themselves.
        let mut rows = vec![0.0; 5 * inputs];
        assert!(source.widen_rows(3, &mut rows));
        assert_eq!(bits(&rows), bits(&expected[3 * inputs..8 * inputs]), "{file}");
        assert!(prequantized.read("m.bias", &shards).unwrap().is_none());
    }
}

#[test]
fn missing_and_wrong_tensors_are_named() {
    for (file, method) in [("fp8.safetensors", FP8), ("gptq.safetensors", GPTQ)] {
        let parts: &[&str] =
            if method == FP8 { &["m.weight_scale_inv"] } else { &["m.qzeros", "m.scales"] };
        for part in parts {
            let mut shards = Shards::of_file(&folder(), file).unwrap();
            let entry = shards.tensors.remove(*part).unwrap();
            let error = Prequantized::take(method, &mut shards).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("missing"), "{error}");
            let mut shards = Shards::of_file(&folder(), file).unwrap();
            let mut wrong = entry.clone();
            wrong.shape.push(1);
            shards.tensors.insert((*part).to_owned(), wrong);
            let error = Prequantized::take(method, &mut shards).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("shape"), "{error}");
            let mut shards = Shards::of_file(&folder(), file).unwrap();
            let mut wrong = entry;
            wrong.dtype = Dtype::U8;
            shards.tensors.insert((*part).to_owned(), wrong);
            let error = Prequantized::take(method, &mut shards).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("type"), "{error}");
        }
    }
    // The groups of another number of scales.
    let mut shards = Shards::of_file(&folder(), "gptq-order.safetensors").unwrap();
    let mut wrong = shards.tensors["m.qweight"].clone();
    wrong.shape = shards.tensors["m.g_idx"].shape.clone();
    shards.tensors.insert("m.g_idx".to_owned(), wrong);
    let prequantized = Prequantized::take(GPTQ, &mut shards).unwrap();
    let error = prequantized.read("m.weight", &shards).err().unwrap().to_string();
    assert!(error.contains("m.g_idx") && error.contains("has the group"), "{error}");
}
