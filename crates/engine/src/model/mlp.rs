//! The feed-forward block.

use candle_core::{self as candle, Tensor};

use super::{ModelConfig, ops};
use crate::LoadError;
use crate::weights::{Linear, Weights};

/// `down(silu(gate(x)) * up(x))`.
#[derive(Debug)]
pub(super) struct Mlp {
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Mlp {
    pub(super) fn load(
        weights: &Weights<'_>,
        config: &ModelConfig,
        prefix: &str,
    ) -> Result<Self, LoadError> {
        let ModelConfig { hidden, ffn, .. } = *config;
        Ok(Self {
            gate: weights.linear(&format!("{prefix}.ffn_gate"), ffn, hidden)?,
            up: weights.linear(&format!("{prefix}.ffn_up"), ffn, hidden)?,
            down: weights.linear(&format!("{prefix}.ffn_down"), hidden, ffn)?,
        })
    }

    /// `[tokens, hidden]` to `[tokens, hidden]`
    pub(super) fn forward(&self, x: &Tensor) -> candle::Result<Tensor> {
        let [gate, up] = Linear::forward_shared([&self.gate, &self.up], x)?;
        self.down.forward(&ops::swiglu(&gate, &up)?)
    }

    pub(super) fn linears(&self) -> [&Linear; 3] {
        [&self.gate, &self.up, &self.down]
    }
}
