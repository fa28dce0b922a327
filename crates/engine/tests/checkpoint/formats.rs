//! Models in formats that candle does not know, against the same numbers in f32.

use engine::batch::{ForwardBatch, Logits, SequenceRows};
use engine::gguf::GgufFile;
use engine::gguf::WeightFormat::{
    self, Iq1M, Iq1S, Iq2S, Iq2Xs, Iq2Xxs, Iq3S, Iq3Xxs, Iq4Nl, Iq4Xs, Mxfp4,
};
use engine::kv::{KvPool, KvType, PageAllocator};
use engine::model::{Decoder, Workspace};

use candle_core::quantized::GgmlDType;

use crate::common::fixtures;
use crate::edit::Gguf;

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

/// Returns the logits of all tokens of a prompt.
fn logits(model: &Gguf) -> Vec<Vec<f32>> {
    let file = GgufFile::from_bytes(&model.bytes(), "changed.gguf").unwrap();
    let model = Decoder::load(&file).unwrap();
    let mut pool = KvPool::new(model.config().kv_shape(KvType::F32), 4);
    let tokens: Vec<u32> = (0..64).map(|n| (n * 7_919 + n * n) % 400).collect();
    let table = PageAllocator::new(4).reserve(tokens.len()).unwrap();
    let mut batch = ForwardBatch::default();
    batch.push(SequenceRows::text(&tokens, 0, &table, Logits::All));
    let mut workspace = Workspace::default();
    let logits = model.forward(&batch, &mut pool, &mut workspace).unwrap();
    logits.chunks(model.config().vocab).map(<[f32]>::to_vec).collect()
}

/// Returns how far logits are off, relative to their deviation from their mean.
fn error(found: &[f32], truth: &[f32]) -> f32 {
    let mean = truth.iter().sum::<f32>() / truth.len() as f32;
    let square = |x: f32| x * x;
    let off: f32 = found.iter().zip(truth).map(|(found, truth)| square(found - truth)).sum();
    (off / truth.iter().map(|truth| square(truth - mean)).sum::<f32>()).sqrt()
}

/// Compares a model whose layers have these formats in turn with the same numbers in f32.
fn compare(model: &str, formats: &[WeightFormat]) {
    let format = |place: usize| formats[place % formats.len()];
    let stored = Gguf::fixture(model)
        .with_layers(|place, weights| (format(place), matrix(format(place), weights).0));
    let exact = Gguf::fixture(model)
        .with_layers(|place, weights| (GgmlDType::F32.into(), matrix(format(place), weights).1));
    let mut errors: Vec<f32> = logits(&stored)
        .iter()
        .zip(&logits(&exact))
        .map(|(stored, exact)| error(stored, exact))
        .collect();
    errors.sort_unstable_by(f32::total_cmp);
    let (median, most) = (errors[errors.len() / 2], errors[errors.len() - 1]);
    println!("{model}: median {median}, most {most}");
    assert!(median < 0.05, "{model}: half of the logits are {median} off or more");
}

#[test]
fn a_mix_of_all_formats_has_the_logits_of_the_same_numbers_in_f32() {
    compare(
        "wide/wide-q4_k",
        &[Iq4Nl, Iq4Xs, Mxfp4, Iq3Xxs, Iq3S, Iq2Xxs, Iq2Xs, Iq2S, Iq1S, Iq1M],
    );
}

#[test]
fn experts_in_4_bits_have_the_logits_of_the_same_numbers_in_f32() {
    compare("qwen3moe/qwen3moe-q8_0", &[Iq4Nl, Mxfp4]);
}
