//! Rotary embedding: the angles by which queries and keys are turned.

/// The frequencies, one for every pair of numbers of a head.
#[derive(Debug, Clone)]
pub(super) struct Rope {
    /// `theta^(-2i / head_dim)`. `[head_dim / 2]`
    frequencies: Vec<f32>,
}

/// Cosines and sines of some tokens' angles. `[tokens, head_dim / 2]` each
#[derive(Debug, Default)]
pub(super) struct Angles {
    pub(super) cos: Vec<f32>,
    pub(super) sin: Vec<f32>,
}

impl Rope {
    pub(super) fn new(head_dim: usize, theta: f32) -> Self {
        let frequency =
            |pair: usize| f64::from(theta).powf(-((2 * pair) as f64) / head_dim as f64) as f32;
        Self { frequencies: (0..head_dim / 2).map(frequency).collect() }
    }

    /// Computed for the tokens at hand: cheap beside the step, and no table bounds the context.
    /// Always in f32: in a narrower type far positions would be wrong.
    pub(super) fn turn_to(&self, positions: &[u32], Angles { cos, sin }: &mut Angles) {
        cos.clear();
        sin.clear();
        for position in positions {
            for frequency in &self.frequencies {
                let angle = *position as f32 * frequency;
                cos.push(angle.cos());
                sin.push(angle.sin());
            }
        }
    }
}
