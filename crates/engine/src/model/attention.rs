//! The attention block.

use candle_core as candle;

use super::{ModelConfig, Workspace};
use crate::LoadError;
use crate::architecture::{AttentionSpec, VectorSpec};
use crate::batch::ForwardBatch;
use crate::kernels::attention::paged_attention;
use crate::kernels::{attention_gate, rows};
use crate::kv::KvPool;
use crate::lora::{Adapters, Projection};
use crate::weights::{Linear, Weights};

/// The projections and norms of a layer's attention.
#[derive(Debug)]
pub(super) struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    output: Linear,
    /// The norm of each query head, `[head_dim]`, if the architecture has them.
    q_norm: Option<Vec<f32>>,
    /// The norm of each key head, `[head_dim]`, if the architecture has them.
    k_norm: Option<Vec<f32>>,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    rotary_dim: usize,
    /// Whether `q` has the gates of the heads' outputs too.
    gated: bool,
    rms_eps: f32,
}

impl Attention {
    pub(super) fn load(
        weights: &Weights<'_>,
        config: &ModelConfig,
        spec: &AttentionSpec,
    ) -> Result<Self, LoadError> {
        let ModelConfig { heads, kv_heads, head_dim, rotary_dim, rms_eps, .. } = *config;
        let norm = |spec: &Option<VectorSpec>| -> Result<Option<Vec<f32>>, LoadError> {
            spec.as_ref().map(|spec| weights.vector(spec)).transpose()
        };
        Ok(Self {
            q: weights.linear(&spec.q)?,
            k: weights.linear(&spec.k)?,
            v: weights.linear(&spec.v)?,
            output: weights.linear(&spec.output)?,
            q_norm: norm(&spec.q_norm)?,
            k_norm: norm(&spec.k_norm)?,
            heads,
            kv_heads,
            head_dim,
            rotary_dim,
            gated: spec.gated,
            rms_eps,
        })
    }

    /// Computes `added` from `h`, both `[tokens, hidden]` in f32, and stores the tokens' keys and values in
    /// the pages of `kv_layer`. `layer` selects the adapters' weights.
    pub(super) fn forward(
        &self,
        batch: &ForwardBatch,
        kv: &mut KvPool,
        (layer, kv_layer): (usize, usize),
        adapters: &Adapters,
        workspace: &mut Workspace,
    ) -> candle::Result<()> {
        let tokens = batch.tokens.len();
        let Workspace { angles, adapted, h, q, k, v, gate, up, mixed, added, scratch, .. } =
            workspace;
        let h = h.of(tokens * self.output.outputs());
        let q = q.of(tokens * self.heads * self.head_dim);
        let (k, v) = (k.of(tokens * self.k.outputs()), v.of(tokens * self.v.outputs()));
        let gate = gate.of(if self.gated { q.len() } else { 0 });
        // With a gate the projection has queries and gates, which are split.
        let both = up.of(if self.gated { tokens * self.q.outputs() } else { 0 });
        let projected = if self.gated { &mut *both } else { &mut *q };
        Linear::forward_shared([&self.q, &self.k, &self.v], h, [projected, k, v], scratch)?;
        if self.gated {
            adapted.add(adapters, layer, Projection::Q, h, both);
            attention_gate::split_gates(both, self.head_dim, q, gate);
        } else {
            adapted.add(adapters, layer, Projection::Q, h, q);
        }
        adapted.add(adapters, layer, Projection::K, h, k);
        adapted.add(adapters, layer, Projection::V, h, v);
        let norm_and_rotate = |x: &mut [f32], heads: usize, norm: &Option<Vec<f32>>| {
            let norm = norm.as_deref().map(|weight| (weight, self.rms_eps));
            let (shape, half) = ((heads, self.head_dim), self.rotary_dim / 2);
            rows::norm_and_turn(x, shape, norm, &angles.cos, &angles.sin, half);
        };
        norm_and_rotate(q, self.heads, &self.q_norm);
        norm_and_rotate(k, self.kv_heads, &self.k_norm);
        kv.write(kv_layer, &batch.slot_mapping, k, v);
        let mixed = mixed.of(q.len());
        paged_attention(q, self.heads, kv.layer(kv_layer), kv.shape(), batch.spans(), mixed);
        if self.gated {
            attention_gate::gate(mixed, gate);
        }
        let added = added.of(tokens * self.output.outputs());
        self.output.forward(mixed, added, scratch)?;
        adapted.add(adapters, layer, Projection::Output, mixed, added);
        Ok(())
    }

    pub(super) fn linears(&self) -> [&Linear; 4] {
        [&self.q, &self.k, &self.v, &self.output]
    }
}
