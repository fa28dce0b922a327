//! The numbers between the layers of a step.

use super::routing::Routing;
use super::{FeedForward, ModelConfig};
use crate::architecture::Angles;
use crate::kernels::rows;
use crate::lora::AdaptedRows;
use crate::weights::Scratch;

/// Memory for what a step computes on its way. It grows to the largest step and stays, so that
/// steps allocate nothing.
#[derive(Debug, Default)]
pub struct Workspace {
    /// By which queries and keys are turned.
    pub(super) angles: Angles,
    /// Whose rows an adapter adds to.
    pub(super) adapted: AdaptedRows,
    /// The residual stream. `[tokens, hidden]`
    pub(super) x: Buffer,
    /// Its normalised form. `[tokens, hidden]`
    pub(super) h: Buffer,
    /// What a block adds to the stream. `[tokens, hidden]`
    pub(super) added: Buffer,
    /// Queries. `[tokens, heads * head_dim]`
    pub(super) q: Buffer,
    /// Keys. `[tokens, kv_heads * head_dim]`
    pub(super) k: Buffer,
    /// Values. `[tokens, kv_heads * head_dim]`
    pub(super) v: Buffer,
    /// Values mixed by attention. `[tokens, heads * head_dim]`
    pub(super) mixed: Buffer,
    /// `[tokens, ffn]`
    pub(super) gate: Buffer,
    /// `[tokens, ffn]`
    pub(super) up: Buffer,
    /// What the router says. `[tokens, experts]`
    pub(super) router: Buffer,
    /// Who goes through which expert.
    pub(super) routing: Routing,
    /// The rows that go through one expert, and what becomes of them. At most `[tokens, hidden]`
    pub(super) expert_rows: Buffer,
    /// `[logit_rows, vocab]`
    pub(super) logits: Buffer,
    /// Of products.
    pub(super) scratch: Scratch,
}

impl Workspace {
    /// Bytes of all this, and of what tokens are drawn from, after a step of so many tokens, of which
    /// so many rows are wanted.
    pub(crate) fn bytes(config: &ModelConfig, tokens: usize, logit_rows: usize) -> usize {
        let ModelConfig { hidden, heads, kv_heads, head_dim, feed_forward, .. } = *config;
        let ffn = feed_forward.widest();
        // The stream, its norm, what is added; queries and what is mixed; keys and values; gate and
        // up; the widest input twice more, as products read it, and write it where candle makes them;
        // the angles of positions; the number of a row that is adapted.
        let mut widths = 3 * hidden + 2 * heads * head_dim + 2 * kv_heads * head_dim + 2 * ffn;
        widths += 2 * hidden.max(ffn).max(heads * head_dim) + head_dim + 1;
        let mut beside = 0;
        if let FeedForward::Experts(experts) = feed_forward {
            widths += experts.count + hidden;
            beside = Routing::bytes(tokens, &experts);
        }
        // A row has its logits, once more from candle, and two numbers a token to draw from.
        let numbers = tokens.saturating_mul(widths) + 4 * logit_rows * config.outputs();
        numbers.saturating_mul(size_of::<f32>()).saturating_add(beside)
    }

    /// Room for `len` logits that were computed elsewhere.
    #[cfg(feature = "cuda")]
    pub(crate) fn logits(&mut self, len: usize) -> &mut [f32] {
        self.logits.of(len)
    }

    /// The residual stream, `len` numbers, as it comes from another part of the model or goes to one.
    #[cfg(feature = "cuda")]
    pub(crate) fn stream(&mut self, len: usize) -> &mut [f32] {
        self.x.of(len)
    }

    /// `x += added`.
    pub(super) fn add(&mut self, len: usize) {
        rows::add(self.x.of(len), self.added.of(len));
    }

    /// `x += added`, `h = norm(x)`.
    pub(super) fn add_and_norm(&mut self, len: usize, weight: &[f32], eps: f32) {
        let (x, added, h) = (self.x.of(len), self.added.of(len), self.h.of(len));
        rows::add_rms_norm(x, added, weight, eps, h);
    }
}

/// A slice of the length that is asked for.
#[derive(Debug, Default)]
pub(super) struct Buffer(Vec<f32>);

impl Buffer {
    /// `len` numbers, whatever they were before.
    pub(super) fn of(&mut self, len: usize) -> &mut [f32] {
        if self.0.len() < len {
            self.0.resize(len, 0.0);
        }
        &mut self.0[..len]
    }
}
