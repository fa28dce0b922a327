//! Models in formats that candle does not know, against the same numbers in f32.

use engine::gguf::WeightFormat::{
    self, Iq1M, Iq1S, Iq2S, Iq2Xs, Iq2Xxs, Iq3S, Iq3Xxs, Iq4Nl, Iq4Xs, Mxfp4,
};
use engine::{Engine, Input};

use candle_core::quantized::GgmlDType;

use crate::common::fixtures;
use crate::edit::{Gguf, answer};

/// Numbers in the fixture of a format.
const NUMBERS: usize = 1024;

/// Returns a matrix made of the blocks of a format's fixture, and the same as f32.
fn matrix(format: WeightFormat, weights: usize) -> (Vec<u8>, Vec<u8>) {
    let file = std::fs::read(fixtures().join(format!("formats/{format:?}.bin"))).unwrap();
    let (blocks, numbers) = file.split_at(file.len() - 4 * NUMBERS);
    let (size, bytes) = (format.block_size(), format.type_size());
    let count = weights / size;
    // The first four of MXFP4 and the last one of the others have extreme scales.
    let usable = if format == Mxfp4 { 4..NUMBERS / 32 } else { 0..NUMBERS / size - 1 };
    let chosen = || (0..count).map(|at| usable.start + (at * 7 + at / 5) % usable.len());
    let stored = chosen().flat_map(|at| &blocks[at * bytes..][..bytes]).copied().collect();
    let exact = chosen().flat_map(|at| &numbers[at * 4 * size..][..4 * size]).copied().collect();
    (stored, exact)
}

/// Returns the answers to several prompts.
fn answers(engine: &Engine) -> Vec<String> {
    let prompt = |first: u32| vec![first, 99, 300, 17, 256 - first, 401, 88];
    (5..29).step_by(2).map(|first| answer(engine, Input::Tokens(prompt(first)))).collect()
}

fn compare(model: &str, formats: &[WeightFormat]) {
    let format = |place: usize| formats[place % formats.len()];
    let stored = Gguf::fixture(model)
        .with_layers(|place, weights| (format(place), matrix(format(place), weights).0));
    let exact = Gguf::fixture(model)
        .with_layers(|place, weights| (GgmlDType::F32.into(), matrix(format(place), weights).1));
    let (stored, exact) = (answers(&stored.start().unwrap()), answers(&exact.start().unwrap()));
    println!("{model}: {stored:?} {exact:?}");
    assert!(stored.iter().all(|answer| !answer.is_empty()));
    // Kernels round activations, so a token that is about as likely as another may take its place.
    let same = stored.iter().zip(&exact).filter(|(stored, exact)| stored == exact).count();
    assert!(3 * same >= stored.len(), "{model}: {same} of {} are the same", stored.len());
}

#[test]
fn a_mix_of_all_formats_answers_as_the_same_numbers_in_f32() {
    compare(
        "wide/wide-q4_k",
        &[Iq4Nl, Iq4Xs, Mxfp4, Iq3Xxs, Iq3S, Iq2Xxs, Iq2Xs, Iq2S, Iq1S, Iq1M],
    );
}

#[test]
fn experts_in_4_bits_answer_as_the_same_numbers_in_f32() {
    compare("qwen3moe/qwen3moe-q8_0", &[Iq4Nl, Mxfp4]);
}
