//! Models whose files hold quantized weights, against the same models with the numbers that these stand for.

use engine::Quantization;
use half::f16;
use safetensors::tensor::Dtype;
use serde_json::json;

use crate::common::Fixture;
use crate::folder::{Folder, Tensor, Tensors};
use crate::{hf, logits, open};

/// Inputs of a group, and of a block of FP8.
const GROUP: usize = 16;

/// Returns a copy of a model with its projections replaced by the tensors of `quantized`, and one with the numbers.
/// `quantized` is called with the module, its outputs and inputs.
fn folders(
    config: &serde_json::Value,
    quantized: impl Fn(&mut Tensors, &str, usize, usize) -> Vec<f32>,
) -> [Folder; 2] {
    let [stored, exact] = [0; 2].map(|_| Folder::copy(&hf("qwen2.5")));
    let (mut of_stored, mut of_exact) = (stored.tensors(), exact.tensors());
    let names: Vec<String> =
        of_exact.keys().filter(|name| name.ends_with("_proj.weight")).cloned().collect();
    assert_eq!(names.len(), 14);
    for name in names {
        let shape = of_stored.remove(&name).unwrap().shape;
        let module = name.strip_suffix(".weight").unwrap();
        let numbers = quantized(&mut of_stored, module, shape[0], shape[1]);
        let data = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        of_exact.insert(name, Tensor { dtype: Dtype::F32, shape, data });
    }
    stored.write(crate::folder::WEIGHTS, &of_stored);
    exact.write(crate::folder::WEIGHTS, &of_exact);
    stored.edit("config.json", |json| {
        json.insert("quantization_config".to_owned(), config.clone());
    });
    [stored, exact]
}

/// Without further quantization the logits have the same bits; with it, the models load.
fn compare([stored, exact]: &[Folder; 2]) {
    let prompt = &Fixture::load("qwen2.5-f32").prompts[1].tokens;
    let of = |folder: &Folder| logits(&open(folder.path(), Quantization::None), prompt);
    let (ours, expected) = (of(stored), of(exact));
    assert!(ours.iter().flatten().all(|number| number.is_finite()));
    assert_eq!(ours, expected);
    let of = |folder: &Folder| logits(&open(folder.path(), Quantization::EightBit), prompt);
    assert_eq!(of(stored), of(exact));
}

fn words(shape: [usize; 2], word: impl Fn(usize, usize) -> u32) -> Tensor {
    let words = (0..shape[0]).flat_map(|row| (0..shape[1]).map(move |column| (row, column)));
    let data = words.flat_map(|(row, column)| word(row, column).to_le_bytes()).collect();
    Tensor { dtype: Dtype::I32, shape: shape.to_vec(), data }
}

#[test]
fn gptq_models_compute_the_numbers_that_they_stand_for() {
    let config = json!({"quant_method": "gptq", "bits": 4, "group_size": GROUP, "sym": true});
    compare(&folders(&config, |tensors, module, outputs, inputs| {
        let q = |output: usize, input: usize| (output * 7 + input * 5 + output * input) as u32 % 16;
        let scale = |output: usize| f16::from_f32(0.01 + (output % 5) as f32 * 0.003);
        let eight =
            |of: &dyn Fn(usize) -> u32| (0..8).fold(0, |word, at| word | of(at) << (4 * at));
        let groups = inputs / GROUP;
        let weight =
            words([inputs / 8, outputs], |row, output| eight(&|at| q(output, 8 * row + at)));
        let zeros = words([groups, outputs / 8], |_, _| 0x7777_7777);
        let scales = (0..groups).flat_map(|_| (0..outputs).flat_map(|at| scale(at).to_le_bytes()));
        let scales =
            Tensor { dtype: Dtype::F16, shape: vec![groups, outputs], data: scales.collect() };
        tensors.insert(format!("{module}.qweight"), weight);
        tensors.insert(format!("{module}.qzeros"), zeros);
        tensors.insert(format!("{module}.scales"), scales);
        if module.ends_with("o_proj") {
            let data = vec![0; 2 * outputs];
            let bias = Tensor { dtype: Dtype::F16, shape: vec![outputs], data };
            tensors.insert(format!("{module}.bias"), bias);
        }
        let number = |output, input| scale(output).to_f32() * (q(output, input) as f32 - 8.0);
        (0..outputs)
            .flat_map(|output| (0..inputs).map(move |input| number(output, input)))
            .collect()
    }));
}

#[test]
fn fp8_models_compute_the_numbers_that_they_stand_for() {
    let config = json!({"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [GROUP, GROUP], "activation_scheme": "dynamic"});
    compare(&folders(&config, |tensors, module, outputs, inputs| {
        // Numbers from 1 to 2, with a sign.
        let byte = |output: usize, input: usize| {
            let bits = output * 3 + input * 11 + output * input;
            0x38 | (bits % 8) as u8 | ((bits / 8 % 2) << 7) as u8
        };
        let number = |byte: u8| {
            let size = 1.0 + f32::from(byte & 7) / 8.0;
            if byte & 0x80 == 0 { size } else { -size }
        };
        let scale =
            |output: usize, input: usize| 0.01 + (output / GROUP + input / GROUP) as f32 * 0.002;
        let places =
            || (0..outputs).flat_map(|output| (0..inputs).map(move |input| (output, input)));
        let data = places().map(|(output, input)| byte(output, input)).collect();
        let weight = Tensor { dtype: Dtype::F8_E4M3, shape: vec![outputs, inputs], data };
        let blocks = [outputs / GROUP, inputs / GROUP];
        let mut scales = words(blocks, |row, column| scale(row * GROUP, column * GROUP).to_bits());
        scales.dtype = Dtype::F32;
        tensors.insert(format!("{module}.weight"), weight);
        tensors.insert(format!("{module}.weight_scale_inv"), scales);
        let number = |(output, input)| number(byte(output, input)) * scale(output, input);
        places().map(number).collect()
    }));
}
