//! Angles with M-RoPE, by the formulas of transformers.

use super::super::{Architecture, FeedForward, Mrope, MropeOrder};
use super::*;

const HEAD_DIM: usize = 128;
const THETA: f32 = 1e6;

fn config(mrope: Option<Mrope>) -> ModelConfig {
    ModelConfig {
        architecture: Architecture::QWEN2_VL,
        layers: 1,
        hidden: 256,
        heads: 2,
        kv_heads: 1,
        head_dim: HEAD_DIM,
        rotary_dim: HEAD_DIM,
        delta: None,
        feed_forward: FeedForward::Dense { ffn: 1 },
        vocab: 1,
        context_length: 1,
        rms_eps: 1e-6,
        rope_theta: THETA,
        yarn: None,
        mrope,
        deepstack_layers: 0,
        pooling: None,
    }
}

fn angles(mrope: Option<Mrope>, positions: &[[u32; 3]]) -> Vec<[f32; 2]> {
    let mut angles = Angles::default();
    Rope::new(&config(mrope)).compute_angles(positions, &mut angles);
    angles.cos.iter().zip(&angles.sin).map(|(cos, sin)| [*cos, *sin]).collect()
}

const QWEN2_VL: Mrope = Mrope { sections: [16, 24, 24], order: MropeOrder::Contiguous };
const QWEN3_VL: Mrope = Mrope { sections: [24, 20, 20], order: MropeOrder::Interleaved };

#[test]
fn each_pair_turns_by_the_position_on_its_axis() {
    let position = [3u32, 70, 1_000];
    // Qwen2-VL splits the pairs into sections. Qwen3-VL writes every third pair from 1 and from 2 on over those of
    // time.
    let contiguous = [vec![0; 16], vec![1; 24], vec![2; 24]].concat();
    let mut interleaved = vec![0; 64];
    for axis in [1, 2] {
        (axis..60).step_by(3).for_each(|pair| interleaved[pair] = axis);
    }
    for (mrope, axes) in [(QWEN2_VL, contiguous), (QWEN3_VL, interleaved)] {
        let found = angles(Some(mrope), &[position]);
        assert_eq!(found.len(), axes.len());
        for (pair, (found, axis)) in found.iter().zip(&axes).enumerate() {
            let frequency = f64::from(THETA).powf(-2.0 * pair as f64 / HEAD_DIM as f64);
            let angle = f64::from(position[*axis]) * frequency;
            let expected = [angle.cos(), angle.sin()];
            for (found, expected) in found.iter().zip(expected) {
                assert!((f64::from(*found) - expected).abs() < 1e-4, "{mrope:?} pair {pair}");
            }
        }
    }
}

/// As before positions had three axes: `position · frequency`, in f32.
#[test]
fn text_turns_to_the_bit_as_without_mrope() {
    let positions: Vec<u32> = (0..300).chain([4_095, 32_767, 1_000_003]).collect();
    let text: Vec<[u32; 3]> = positions.iter().map(|position| [*position; 3]).collect();
    let mut expected = Vec::new();
    for position in positions {
        for pair in 0..HEAD_DIM / 2 {
            let frequency = f64::from(THETA).powf(-((2 * pair) as f64) / HEAD_DIM as f64) as f32;
            let angle = position as f32 * frequency;
            expected.push([angle.cos().to_bits(), angle.sin().to_bits()]);
        }
    }
    for mrope in [None, Some(QWEN2_VL), Some(QWEN3_VL)] {
        let found: Vec<_> =
            angles(mrope, &text).iter().map(|pair| pair.map(f32::to_bits)).collect();
        assert!(found == expected, "{mrope:?}");
    }
}
