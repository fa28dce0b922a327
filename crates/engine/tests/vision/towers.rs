//! Towers against transformers in float32.

use engine::vision::tower::TowerWorkspace;
use engine::vision::{Encoded, Grid, Patches, Precision, Tower, TowerSpec};

use super::{distance, folder, noise, numbers, truth};

pub(crate) const TOWERS: [&str; 5] = ["qwen2vl", "qwen2.5vl", "qwen3vl", "qwen3.5", "qwen3vlmoe"];

/// Returns the patches whose rows transformers computed, and these rows: `[grid]`.
pub(crate) fn expected(name: &str, tower: &Tower) -> Vec<(Patches, Encoded)> {
    let spec = tower.spec();
    let stored = std::fs::read(folder().join(name).join("outputs.f32")).unwrap();
    let stored = stored.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    let mut stored = stored.collect::<Vec<f32>>().into_iter();
    let grids = truth()["grids"].as_array().unwrap().iter().map(numbers).collect::<Vec<_>>();
    let cases = grids.iter().enumerate().map(|(index, grid)| {
        let grid = Grid { time: grid[0], height: grid[1], width: grid[2] };
        let values = noise(grid.patches() * spec.patch_len(), index as u64);
        let mut rows = || -> Vec<f32> {
            stored.by_ref().take(grid.patches() / spec.token_patches() * spec.out).collect()
        };
        let encoded = Encoded {
            rows: rows(),
            deepstack: (0..spec.deepstack.len()).map(|_| rows()).collect(),
        };
        (Patches { grid, values }, encoded)
    });
    let cases = cases.collect();
    assert_eq!(stored.next(), None, "{name} has more outputs");
    cases
}

#[test]
fn rows_equal_transformers() {
    for name in TOWERS {
        let tower = Tower::load(&folder().join(name), Precision::Full).unwrap();
        assert_eq!(tower.spec().deepstack.len(), if name.starts_with("qwen3vl") { 2 } else { 0 });
        let mut workspace = TowerWorkspace::default();
        let mut most = 0.0f32;
        for (patches, expected) in expected(name, &tower) {
            let ours = tower.encode(&patches, &mut workspace).unwrap();
            most = most.max(distance(&ours.rows, &expected.rows));
            assert_eq!(ours.deepstack.len(), expected.deepstack.len());
            for (ours, theirs) in ours.deepstack.iter().zip(&expected.deepstack) {
                most = most.max(distance(ours, theirs));
            }
        }
        println!("{name}: off by {most}");
        assert!(most <= 1e-4, "{name}: off by {most}");
    }
}

#[test]
fn an_image_does_not_depend_on_those_encoded_before() {
    for name in TOWERS {
        let tower = Tower::load(&folder().join(name), Precision::Full).unwrap();
        let cases = expected(name, &tower);
        let (patches, _) = &cases[0];
        let fresh = tower.encode(patches, &mut TowerWorkspace::default()).unwrap();
        let mut used = TowerWorkspace::default();
        for (other, _) in &cases {
            tower.encode(other, &mut used).unwrap();
        }
        assert_eq!(tower.encode(patches, &mut used).unwrap(), fresh, "{name}");
    }
}

/// A width of 68 is no multiple of a block of 32, so the MLP is padded.
#[test]
fn eight_bits_change_rows_little() {
    for name in ["qwen2-vl", "qwen2.5-vl", "qwen3-vl-2b"] {
        let mut spec = TowerSpec { patch: 4, ..TowerSpec::of_name(name, 64).unwrap() };
        (spec.width, spec.depth, spec.heads, spec.feed_forward) = (64, 4, 4, 68);
        spec.deepstack.retain(|block| *block < 4);
        spec.position_side = spec.position_side.map(|_| 6);
        let full = Tower::random(spec.clone(), Precision::Full).unwrap();
        let eight = Tower::random(spec.clone(), Precision::EightBit).unwrap();
        assert!(eight.weight_bytes() < full.weight_bytes() / 2);
        let grid = Grid { time: 1, height: 12, width: 10 };
        let patches = Patches { grid, values: noise(grid.patches() * spec.patch_len(), 3) };
        let [full, eight] = [full, eight]
            .map(|tower| tower.encode(&patches, &mut TowerWorkspace::default()).unwrap().rows);
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let cosine = dot(&full, &eight) / (dot(&full, &full) * dot(&eight, &eight)).sqrt();
        println!("{name}: cosine {cosine:.6}");
        assert!(cosine > 0.999, "{name}: {cosine}");
    }
}
