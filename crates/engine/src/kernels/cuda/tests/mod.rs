//! Every kernel against its twin on the CPU, on all machines that are available.

mod attention;
mod experts;
mod likeliest;
mod low_rank;
mod pages;
mod rows;
mod shim;
mod signatures;

use rand::{Rng, rngs::StdRng};

fn draw(random: &mut StdRng, len: usize) -> Vec<f32> {
    (0..len).map(|_| random.random_range(-3.0..3.0)).collect()
}

/// Numbers that f16 holds exactly, so that both page types have the same exact result.
fn draw_short(random: &mut StdRng, len: usize) -> Vec<f32> {
    (0..len).map(|_| random.random_range(-64..64) as f32 / 32.0).collect()
}

/// Asserts that numbers differ by at most `within`, and that NaN is in the same places.
fn assert_near(found: &[f32], expected: &[f32], within: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (place, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= within * b.abs().max(1.0), "{what} at {place}: {a}, not {b}");
    }
}
