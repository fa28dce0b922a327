//! What happens between the matrix products: on the CPU by kernels, one pass each.
//!
//! They take and return tensors, so that the decoder reads the same for every device.

use candle_core::{Result, Tensor};

use super::rope::Angles;
use crate::batch::ForwardBatch;
use crate::kernels::{as_numbers as numbers, attention, rows};
use crate::kv::KvPool;

/// `[tokens, hidden]` normalised row by row.
pub(super) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
    let mut out = vec![0.0; x.elem_count()];
    rows::rms_norm(&numbers(x)?, &numbers(weight)?, eps, &mut out);
    Tensor::from_vec(out, x.shape(), x.device())
}

/// `x + y`, and the same normalised. All `[tokens, hidden]`.
pub(super) fn add_rms_norm(
    x: &Tensor,
    y: &Tensor,
    weight: &Tensor,
    eps: f32,
) -> Result<(Tensor, Tensor)> {
    let (mut sum, mut normed) = (vec![0.0; x.elem_count()], vec![0.0; x.elem_count()]);
    rows::add_rms_norm(&numbers(x)?, &numbers(y)?, &numbers(weight)?, eps, &mut sum, &mut normed);
    Ok((
        Tensor::from_vec(sum, x.shape(), x.device())?,
        Tensor::from_vec(normed, x.shape(), x.device())?,
    ))
}

/// `silu(gate) * up`.
pub(super) fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    let mut out = vec![0.0; gate.elem_count()];
    rows::swiglu(&numbers(gate)?, &numbers(up)?, &mut out);
    Tensor::from_vec(out, gate.shape(), gate.device())
}

/// The heads of `[tokens, heads * head_dim]`, normalised if there is a norm, and turned.
pub(super) fn norm_and_turn(
    x: &Tensor,
    heads: usize,
    head_dim: usize,
    norm: Option<&Tensor>,
    eps: f32,
    angles: &Angles,
) -> Result<Tensor> {
    let mut out = vec![0.0; x.elem_count()];
    let weight = norm.map(numbers).transpose()?;
    let norm = weight.as_deref().map(|weight| (weight, eps));
    let Angles { cos, sin } = angles;
    rows::norm_and_turn(&numbers(x)?, heads, norm, cos, sin, head_dim / 2, &mut out);
    Tensor::from_vec(out, x.shape(), x.device())
}

/// Puts the keys and values of the step's tokens into their pages.
pub(super) fn store_kv(
    keys: &Tensor,
    values: &Tensor,
    slots: &[usize],
    kv: &mut KvPool,
    layer: usize,
) -> Result<()> {
    kv.write(layer, slots, &numbers(keys)?, &numbers(values)?);
    Ok(())
}

/// `[tokens, heads * head_dim]` queries against everything their sequences have in the pages.
pub(super) fn paged_attention(
    q: &Tensor,
    heads: usize,
    batch: &ForwardBatch,
    kv: &KvPool,
    layer: usize,
) -> Result<Tensor> {
    let mut out = vec![0.0; q.elem_count()];
    let pages = kv.layer(layer);
    attention::paged_attention(&numbers(q)?, heads, pages, kv.shape(), batch, &mut out);
    Tensor::from_vec(out, q.shape(), q.device())
}

/// Some rows of `[tokens, hidden]`.
pub(super) fn select_rows(x: &Tensor, rows: &[usize]) -> Result<Tensor> {
    let rows: Vec<u32> = rows.iter().map(|row| *row as u32).collect();
    let len = rows.len();
    x.index_select(&Tensor::from_vec(rows, len, x.device())?, 0)
}
