//! The attention block.

use candle_core::{self as candle, Tensor};

use super::rope::Angles;
use super::{Architecture, ModelConfig, ops};
use crate::LoadError;
use crate::batch::ForwardBatch;
use crate::kv::KvPool;
use crate::weights::{Linear, Weights};

/// Projections, norms and the way through the pages.
#[derive(Debug)]
pub(super) struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    output: Linear,
    /// Per head, `[head_dim]`: Qwen3 only.
    q_norm: Option<Tensor>,
    k_norm: Option<Tensor>,
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
        let norm = |name: &str| -> Result<Option<Tensor>, LoadError> {
            match config.architecture {
                Architecture::Qwen2 => Ok(None),
                Architecture::Qwen3 => {
                    weights.vector(&format!("{prefix}.{name}.weight"), head_dim).map(Some)
                }
            }
        };
        let project = |name: &str, heads: usize| {
            let name = format!("{prefix}.{name}");
            match config.architecture {
                Architecture::Qwen2 => weights.biased_linear(&name, heads * head_dim, hidden),
                Architecture::Qwen3 => weights.linear(&name, heads * head_dim, hidden),
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

    /// `[tokens, hidden]` to `[tokens, hidden]`; the tokens' keys and values go to the pages.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        angles: &Angles,
        batch: &ForwardBatch,
        kv: &mut KvPool,
        layer: usize,
    ) -> candle::Result<Tensor> {
        // [tokens, heads * head_dim], [tokens, kv_heads * head_dim] twice
        let [q, k, v] = Linear::forward_shared([&self.q, &self.k, &self.v], x)?;
        let turn = |x: &Tensor, heads: usize, norm: Option<&Tensor>| {
            ops::norm_and_turn(x, heads, self.head_dim, norm, self.rms_eps, angles)
        };
        let q = turn(&q, self.heads, self.q_norm.as_ref())?;
        let k = turn(&k, self.kv_heads, self.k_norm.as_ref())?;
        ops::store_kv(&k, &v, &batch.slot_mapping, kv, layer)?;
        let mixed = ops::paged_attention(&q, self.heads, batch, kv, layer)?;
        self.output.forward(&mixed)
    }

    pub(super) fn linears(&self) -> [&Linear; 4] {
        [&self.q, &self.k, &self.v, &self.output]
    }
}
