//! The feed-forward block.

use candle_core as candle;

use super::{ModelConfig, Workspace};
use crate::LoadError;
use crate::kernels::rows;
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

    /// From `h` to `added`, both `[tokens, hidden]`.
    pub(super) fn forward(&self, tokens: usize, workspace: &mut Workspace) -> candle::Result<()> {
        let Workspace { h, gate, up, added, scratch, .. } = workspace;
        let gate = gate.of(tokens * self.gate.outputs());
        let up = up.of(tokens * self.up.outputs());
        let h = h.of(tokens * self.down.outputs());
        Linear::forward_shared([&self.gate, &self.up], h, [gate, up], scratch)?;
        rows::swiglu(gate, up);
        self.down.forward(gate, added.of(tokens * self.down.outputs()), scratch)
    }

    pub(super) fn linears(&self) -> [&Linear; 3] {
        [&self.gate, &self.up, &self.down]
    }
}
