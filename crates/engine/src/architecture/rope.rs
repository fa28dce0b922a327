//! Rotary embedding (<https://arxiv.org/abs/2104.09864>): the angles that queries and keys are rotated by.

use super::config::ModelConfig;

/// The rotary embedding of a model.
#[derive(Debug, Clone)]
pub(crate) struct Rope {
    /// `[rotary_dim / 2]`
    pairs: Vec<Pair>,
    /// The factor of cosines and sines.
    scale: f32,
}

/// The rotation of a pair of numbers of a head.
#[derive(Debug, Clone, Copy)]
struct Pair {
    /// `theta^(-2i / rotary_dim)`, after YaRN.
    frequency: f32,
    /// The axis of its position: 0, except with M-RoPE.
    axis: usize,
}

/// Scaled cosines and sines of some tokens' angles, each `[tokens, rotary_dim / 2]`.
#[derive(Debug, Default)]
pub(crate) struct Angles {
    pub(crate) cos: Vec<f32>,
    pub(crate) sin: Vec<f32>,
}

impl Rope {
    pub(crate) fn new(config: &ModelConfig) -> Self {
        let ModelConfig { rotary_dim, rope_theta: theta, yarn, mrope, .. } = config;
        let (rotary_dim, theta) = (*rotary_dim, *theta);
        let original =
            |pair: usize| f64::from(theta).powf(-((2 * pair) as f64) / rotary_dim as f64);
        let kept = yarn.map(|yarn| (yarn.kept(rotary_dim, theta), f64::from(yarn.factor)));
        let frequency = |pair: usize| match &kept {
            None => original(pair),
            Some((kept, factor)) => original(pair) * (kept(pair) + (1.0 - kept(pair)) / factor),
        };
        let pair = |pair: usize| Pair {
            frequency: frequency(pair) as f32,
            axis: mrope.map_or(0, |mrope| mrope.axis(pair)),
        };
        Self {
            pairs: (0..rotary_dim / 2).map(pair).collect(),
            scale: yarn.map_or(1.0, |yarn| yarn.attention_factor),
        }
    }

    /// Computes the angles of `positions`. That is cheap compared to a step, and without a table the context
    /// is not bounded. Always in f32: a narrower type cannot represent far positions exactly.
    pub(crate) fn compute_angles(&self, positions: &[[u32; 3]], Angles { cos, sin }: &mut Angles) {
        cos.clear();
        sin.clear();
        for position in positions {
            for Pair { frequency, axis } in &self.pairs {
                let angle = position[*axis] as f32 * frequency;
                cos.push(angle.cos() * self.scale);
                sin.push(angle.sin() * self.scale);
            }
        }
    }
}

#[cfg(test)]
mod tests;
