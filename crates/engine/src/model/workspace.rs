//! The numbers between the layers of a step.

use super::rope::Angles;
use crate::kernels::rows;
use crate::weights::Scratch;

/// Memory for what a step computes on its way. It grows to the largest step and stays, so that
/// steps allocate nothing.
#[derive(Debug, Default)]
pub struct Workspace {
    /// By which queries and keys are turned.
    pub(super) angles: Angles,
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
    /// `[logit_rows, vocab]`
    pub(super) logits: Buffer,
    /// Of products.
    pub(super) scratch: Scratch,
}

impl Workspace {
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
