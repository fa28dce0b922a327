//! A gated feed-forward network: that of a dense layer, or a shared expert.

use candle_core as candle;

use super::Workspace;
use crate::LoadError;
use crate::architecture::GatedMlpSpec;
use crate::kernels::rows;
use crate::lora::{Adapters, Projection};
use crate::weights::{Linear, Weights};

/// Computes `down(silu(gate(x)) * up(x))` (SwiGLU, <https://arxiv.org/abs/2002.05202>).
#[derive(Debug)]
pub(super) struct GatedMlp {
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl GatedMlp {
    pub(super) fn load(weights: &Weights<'_>, spec: &GatedMlpSpec) -> Result<Self, LoadError> {
        Ok(Self {
            gate: weights.linear(&spec.gate)?,
            up: weights.linear(&spec.up)?,
            down: weights.linear(&spec.down)?,
        })
    }

    /// Computes `added` from `h`, both `[tokens, hidden]` in f32. `adapters` are the index of the layer and the
    /// adapters to apply, if any.
    pub(super) fn forward(
        &self,
        tokens: usize,
        adapters: Option<(usize, &Adapters)>,
        workspace: &mut Workspace,
    ) -> candle::Result<()> {
        let Workspace { adapted, h, gate, up, added, scratch, .. } = workspace;
        let gate = gate.of(tokens * self.gate.outputs());
        let up = up.of(tokens * self.up.outputs());
        let h = h.of(tokens * self.down.outputs());
        Linear::forward_shared([&self.gate, &self.up], h, [gate, up], scratch)?;
        let adapt = |projection: Projection, x: &[f32], y: &mut [f32]| {
            if let Some((layer, adapters)) = adapters {
                adapted.add(adapters, layer, projection, x, y);
            }
        };
        adapt(Projection::Gate, h, gate);
        adapt(Projection::Up, h, up);
        rows::swiglu(gate, up);
        let added = added.of(tokens * self.down.outputs());
        self.down.forward(gate, added, scratch)?;
        adapt(Projection::Down, gate, added);
        Ok(())
    }

    pub(super) fn linears(&self) -> [&Linear; 3] {
        [&self.gate, &self.up, &self.down]
    }
}
