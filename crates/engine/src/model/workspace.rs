//! The intermediate results of a step.

use super::routing::Routing;
use super::{FeedForward, ModelConfig};
use crate::architecture::Angles;
use crate::kernels::rows;
use crate::lora::AdaptedRows;
use crate::weights::Scratch;

/// Buffers for the intermediate results of a step, in f32. They grow to the largest step and are kept, so
/// that further steps do not allocate.
#[derive(Debug, Default)]
pub struct Workspace {
    /// The angles that rotate queries and keys.
    pub(super) angles: Angles,
    /// The rows that each adapter applies to.
    pub(super) adapted: AdaptedRows,
    /// The residual stream. `[tokens, hidden]`
    pub(super) x: Buffer,
    /// The normalised residual stream, which is a block's input. `[tokens, hidden]`
    pub(super) h: Buffer,
    /// A block's output, which is added to the residual stream. `[tokens, hidden]`
    pub(super) added: Buffer,
    /// Queries. `[tokens, heads * head_dim]`
    pub(super) q: Buffer,
    /// Keys. `[tokens, kv_heads * head_dim]`
    pub(super) k: Buffer,
    /// Values. `[tokens, kv_heads * head_dim]`
    pub(super) v: Buffer,
    /// The output of attention before its projection. `[tokens, heads * head_dim]`
    pub(super) mixed: Buffer,
    /// `[tokens, ffn]`
    pub(super) gate: Buffer,
    /// `[tokens, ffn]`
    pub(super) up: Buffer,
    /// The router's logits. `[tokens, experts]`
    pub(super) router: Buffer,
    /// The tokens of each expert.
    pub(super) routing: Routing,
    /// The inputs of one expert, then its outputs. At most `[tokens, hidden]`
    pub(super) expert_rows: Buffer,
    /// `[logit_rows, vocab]`
    pub(super) logits: Buffer,
    /// Temporary memory of matrix products.
    pub(super) scratch: Scratch,
}

impl Workspace {
    /// Returns the bytes of the workspace and of the sampler's candidates after a step of `tokens` tokens with
    /// logits for `logit_rows` rows.
    pub(crate) fn bytes(config: &ModelConfig, tokens: usize, logit_rows: usize) -> usize {
        let ModelConfig { hidden, heads, kv_heads, head_dim, feed_forward, .. } = *config;
        let ffn = feed_forward.widest();
        // `x`, `h` and `added`; `q` and `mixed`; `k` and `v`; `gate` and `up`; the widest input twice
        // more in `scratch`, as products read it and as candle writes it; the angles; the index of an
        // adapted row.
        // A recurrent layer has its queries, keys and values in `q` and `mixed`, a number per head in `k` and `v`,
        // and its values in `gate` and `up`; so has attention its gates.
        let (channels, values, gates) = config
            .delta
            .map_or((0, 0, 0), |delta| (delta.channels(), delta.values(), 2 * heads * head_dim));
        let (queries, inner) = ((heads * head_dim).max(channels), ffn.max(values).max(gates));
        let keys = (kv_heads * head_dim).max(config.delta.map_or(0, |delta| delta.value_heads));
        let mut widths = 3 * hidden + 2 * queries + 2 * keys + 2 * inner;
        widths += 2 * hidden.max(inner).max(queries) + head_dim + 1;
        let mut beside = 0;
        if let FeedForward::Experts(experts) = feed_forward {
            widths += experts.count + hidden;
            beside = Routing::bytes(tokens, &experts);
        }
        // A row has its logits, a second copy from candle, and a candidate of two numbers per token.
        let numbers = tokens.saturating_mul(widths) + 4 * logit_rows * config.outputs();
        numbers.saturating_mul(size_of::<f32>()).saturating_add(beside)
    }

    /// Returns a buffer for `len` logits that are computed on a GPU.
    #[cfg(feature = "cuda")]
    pub(crate) fn logits(&mut self, len: usize) -> &mut [f32] {
        self.logits.of(len)
    }

    /// Returns the first `len` numbers of the residual stream, to exchange them with another part of the
    /// model.
    #[cfg(feature = "cuda")]
    pub(crate) fn stream(&mut self, len: usize) -> &mut [f32] {
        self.x.of(len)
    }

    /// Computes `x += added` on `len` numbers.
    pub(super) fn add(&mut self, len: usize) {
        rows::add(self.x.of(len), self.added.of(len));
    }

    /// Computes `x += added` and `h = rms_norm(x) * weight` on `len` numbers.
    pub(super) fn add_and_norm(&mut self, len: usize, weight: &[f32], eps: f32) {
        let (x, added, h) = (self.x.of(len), self.added.of(len), self.h.of(len));
        rows::add_rms_norm(x, added, weight, eps, h);
    }
}

/// A buffer that grows to the largest length requested.
#[derive(Debug, Default)]
pub(super) struct Buffer(Vec<f32>);

impl Buffer {
    /// Returns the first `len` numbers. They hold what was last written, or zeros.
    pub(super) fn of(&mut self, len: usize) -> &mut [f32] {
        if self.0.len() < len {
            self.0.resize(len, 0.0);
        }
        &mut self.0[..len]
    }
}
