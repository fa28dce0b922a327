//! Compares pixels, patches, positions and towers with those of transformers. `scripts/models/make_vision_fixtures.py`
//! wrote the fixtures.
#![allow(clippy::unwrap_used)] // clippy exempts only functions with `#[test]`

mod engine;
mod folders;
mod malformed;
mod mutated;
mod pixels;
mod positions;
mod projector;
mod texts;
mod towers;
mod videos;
mod whole;

use std::path::{Path, PathBuf};

use serde_json::Value;

/// Returns the folder of the fixtures.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vision")
}

/// Returns the results of transformers.
fn truth() -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder().join("vision.json")).unwrap()).unwrap()
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

fn numbers(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(number).collect()
}

/// Numbers from -1 to 1, as `noise` in the script computes them.
fn noise(count: usize, seed: u64) -> Vec<f32> {
    (0..count as u64)
        .map(|n| (n.wrapping_mul(2_654_435_761) + seed * 977) % (1 << 32))
        .map(|mixed| ((mixed >> 8) as f64 / f64::from(1 << 23) - 1.0) as f32)
        .collect()
}

/// Returns the largest difference.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
