//! The attention block.

use candle_core as candle;

use super::{ModelConfig, Workspace};
use crate::LoadError;
use crate::batch::ForwardBatch;
use crate::kernels::attention::paged_attention;
use crate::kernels::rows;
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
    /// The norm of each query head, `[head_dim]`. Qwen3 only.
    q_norm: Option<Vec<f32>>,
    /// The norm of each key head, `[head_dim]`. Qwen3 only.
    k_norm: Option<Vec<f32>>,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    rms_eps: f32,
}

impl Attention {
    pub(super) fn load(
        weights: &Weights<'_>,
        config: &ModelConfig,
        prefix: &str,
    ) -> Result<Self, LoadError> {
        let ModelConfig { hidden, heads, kv_heads, head_dim, .. } = *config;
        let norm = |name: &str| -> Result<Option<Vec<f32>>, LoadError> {
            let weight = || weights.vector(&format!("{prefix}.{name}.weight"), head_dim);
            config.architecture.has_query_norm().then(weight).transpose()
        };
        let project = |name: &str, heads: usize| {
            let name = format!("{prefix}.{name}");
            if config.architecture.has_attention_bias() {
                weights.biased_linear(&name, heads * head_dim, hidden)
            } else {
                weights.linear(&name, heads * head_dim, hidden)
            }
        };
        Ok(Self {
            q: project("attn_q", heads)?,
            k: project("attn_k", kv_heads)?,
            v: project("attn_v", kv_heads)?,
            output: weights.linear(&format!("{prefix}.attn_output"), hidden, heads * head_dim)?,
            q_norm: norm("attn_q_norm")?,
            k_norm: norm("attn_k_norm")?,
            heads,
            kv_heads,
            head_dim,
            rms_eps: config.rms_eps,
        })
    }

    /// Computes `added` from `h`, both `[tokens, hidden]` in f32, and stores the tokens' keys and values in
    /// the pages of `layer`.
    pub(super) fn forward(
        &self,
        batch: &ForwardBatch,
        kv: &mut KvPool,
        layer: usize,
        adapters: &Adapters,
        workspace: &mut Workspace,
    ) -> candle::Result<()> {
        let tokens = batch.tokens.len();
        let Workspace { angles, adapted, h, q, k, v, mixed, added, scratch, .. } = workspace;
        let h = h.of(tokens * self.output.outputs());
        let q = q.of(tokens * self.q.outputs());
        let (k, v) = (k.of(tokens * self.k.outputs()), v.of(tokens * self.v.outputs()));
        Linear::forward_shared([&self.q, &self.k, &self.v], h, [q, k, v], scratch)?;
        adapted.add(adapters, layer, Projection::Q, h, q);
        adapted.add(adapters, layer, Projection::K, h, k);
        adapted.add(adapters, layer, Projection::V, h, v);
        let norm_and_rotate = |x: &mut [f32], heads: usize, norm: &Option<Vec<f32>>| {
            let norm = norm.as_deref().map(|weight| (weight, self.rms_eps));
            rows::norm_and_turn(x, heads, norm, &angles.cos, &angles.sin, self.head_dim / 2);
        };
        norm_and_rotate(q, self.heads, &self.q_norm);
        norm_and_rotate(k, self.kv_heads, &self.k_norm);
        kv.write(layer, &batch.slot_mapping, k, v);
        let mixed = mixed.of(q.len());
        paged_attention(q, self.heads, kv.layer(layer), kv.shape(), batch.spans(), mixed);
        let added = added.of(tokens * self.output.outputs());
        self.output.forward(mixed, added, scratch)?;
        adapted.add(adapters, layer, Projection::Output, mixed, added);
        Ok(())
    }

    pub(super) fn linears(&self) -> [&Linear; 4] {
        [&self.q, &self.k, &self.v, &self.output]
    }
}
