//! The recurrent block: Gated DeltaNet.

use candle_core as candle;

use super::Workspace;
use crate::LoadError;
use crate::architecture::{DeltaNet, DeltaSpec, GatesSpec};
use crate::batch::ForwardBatch;
use crate::kernels::delta::{
    MemoryShape, TokenRows, advance, convolve, decay_and_rate, normalize_keys,
};
use crate::kernels::{few_outputs, rows};
use crate::kv::KvPool;
use crate::lora::{Adapters, Projection};
use crate::weights::{Linear, Weights};

/// The weights of a layer with a recurrent state.
#[derive(Debug)]
pub(super) struct Delta {
    config: DeltaNet,
    /// Queries, keys and values: `[channels, hidden]`.
    qkv: Linear,
    /// The gate of the output: `[values, hidden]`.
    gate: Linear,
    /// `[value_heads, hidden]`
    beta: Vec<f32>,
    /// `[value_heads, hidden]`
    alpha: Vec<f32>,
    /// `[kernel, channels]`
    conv: Vec<f32>,
    /// `[value_heads]`
    decay: Vec<f32>,
    /// `[value_heads]`
    decay_bias: Vec<f32>,
    /// `[value_dim]`
    norm: Vec<f32>,
    output: Linear,
    rms_eps: f32,
}

impl Delta {
    pub(super) fn load(
        weights: &Weights<'_>,
        spec: &DeltaSpec,
        rms_eps: f32,
    ) -> Result<Self, LoadError> {
        let DeltaSpec { config, qkv, gate, gates, conv, decay, decay_bias, norm, output } = spec;
        let (beta, alpha) = match gates {
            GatesSpec::Apart { beta, alpha } => (weights.rows(beta)?, weights.rows(alpha)?),
            GatesSpec::Fused(both) => take_apart(&weights.rows(both)?, config, both.inputs),
        };
        Ok(Self {
            config: *config,
            qkv: weights.linear(qkv)?,
            gate: weights.linear(gate)?,
            beta,
            alpha,
            conv: transposed(&weights.rows(conv)?, config.kernel),
            decay: weights.vector(decay)?,
            decay_bias: weights.vector(decay_bias)?,
            norm: weights.vector(norm)?,
            output: weights.linear(output)?,
            rms_eps,
        })
    }

    /// Computes `added` from `h`, both `[tokens, hidden]` in f32, and updates the states of `state_layer`. `layer`
    /// selects the adapters' weights.
    pub(super) fn forward(
        &self,
        batch: &ForwardBatch,
        kv: &mut KvPool,
        (layer, state_layer): (usize, usize),
        adapters: &Adapters,
        workspace: &mut Workspace,
    ) -> candle::Result<()> {
        let config = &self.config;
        let tokens = batch.tokens.len();
        let (channels, values) = (config.channels(), config.values());
        let Some((conv_states, memories)) = kv.states_of(state_layer) else {
            candle::bail!("the pages have no recurrent states")
        };
        if batch.recurrence().spans.len() != batch.q_lens.len() {
            candle::bail!("a sequence has no slot for its recurrent state")
        }
        let Workspace { adapted, h, q, k, v, gate, up, mixed, added, scratch, .. } = workspace;
        let h = h.of(tokens * self.output.outputs());
        let (raw, z) = (q.of(tokens * channels), gate.of(tokens * values));
        Linear::forward_shared([&self.qkv, &self.gate], h, [&mut *raw, &mut *z], scratch)?;
        adapted.add(adapters, layer, Projection::DeltaQkv, h, raw);
        adapted.add(adapters, layer, Projection::DeltaGate, h, z);
        let heads = tokens * config.value_heads;
        let (rate, decay) = (k.of(heads), v.of(heads));
        let hidden = self.output.outputs();
        few_outputs::multiply(h, &self.beta, hidden, rate);
        few_outputs::multiply(h, &self.alpha, hidden, decay);
        adapted.add(adapters, layer, Projection::DeltaBeta, h, rate);
        adapted.add(adapters, layer, Projection::DeltaAlpha, h, decay);
        decay_and_rate(decay, rate, &self.decay, &self.decay_bias);
        let qkv = mixed.of(tokens * channels);
        let steps = batch.recurrence();
        convolve(raw, &self.conv, config.kernel, steps, conv_states, qkv);
        normalize_keys(qkv, channels, config.key_heads, config.key_dim);
        let out = up.of(tokens * values);
        let token_rows = TokenRows { qkv, channels, keys: config.keys(), decay, rate };
        let DeltaNet { value_heads, key_dim, value_dim, .. } = *config;
        let shape = MemoryShape { value_heads, key_dim, value_dim };
        let key_head = |head| config.key_head_of(head);
        advance(token_rows, shape, key_head, steps, memories, out);
        let normed = q.of(tokens * values);
        rows::rms_norm(out, &self.norm, self.rms_eps, normed);
        rows::swiglu(z, normed);
        let added = added.of(tokens * hidden);
        self.output.forward(z, added, scratch)?;
        adapted.add(adapters, layer, Projection::DeltaOutput, z, added);
        Ok(())
    }

    pub(super) fn linears(&self) -> [&Linear; 3] {
        [&self.qkv, &self.gate, &self.output]
    }
}

/// Splits a matrix with the rows of `beta` and then of the decay, of one key head after the other.
fn take_apart(both: &[f32], config: &DeltaNet, inputs: usize) -> (Vec<f32>, Vec<f32>) {
    let part = config.per_key_head() * inputs;
    let (mut beta, mut alpha) = (Vec::new(), Vec::new());
    for head in both.chunks_exact(2 * part) {
        beta.extend_from_slice(&head[..part]);
        alpha.extend_from_slice(&head[part..]);
    }
    (beta, alpha)
}

/// Returns `[columns, rows]` of a matrix `[rows, columns]`.
fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    let column = |index| matrix.iter().skip(index).step_by(columns).copied();
    (0..columns).flat_map(column).collect()
}
