//! Launching the kernels that work on rows of f32.

use candle_core::{Result, Tensor};

use super::super::arguments::{AddBias, AddRmsNorm, NormAndTurn, Pointer, RmsNorm, Swiglu};
use super::{Kernels, Step, int, same};

impl Kernels {
    /// Returns the RMS norm of the rows of `x`, `[rows, width]`, scaled by `weight`, `[width]`.
    pub(crate) fn rms_norm(&self, x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
        let (rows, width) = x.dims2()?;
        same(weight.elem_count(), width)?;
        let out = self.blank((rows, width))?;
        let kernel = RmsNorm {
            x: self.at(x)?,
            weight: self.at(weight)?,
            out: self.at(&out)?,
            width: int(width)?,
            eps,
        };
        // SAFETY: one block per row; the sizes are checked above.
        unsafe { self.run(&kernel.launch(rows))? };
        Ok(out)
    }

    /// Computes `x += added` and returns the RMS norm of `x`. `x` and `added` are `[rows, width]`.
    pub(crate) fn add_rms_norm(
        &self,
        x: &Tensor,
        added: &Tensor,
        weight: &Tensor,
        eps: f32,
    ) -> Result<Tensor> {
        let (rows, width) = x.dims2()?;
        same(weight.elem_count(), width)?;
        same(added.elem_count(), rows * width)?;
        let out = self.blank((rows, width))?;
        let kernel = AddRmsNorm {
            x: self.at(x)?,
            added: self.at(added)?,
            weight: self.at(weight)?,
            out: self.at(&out)?,
            width: int(width)?,
            eps,
        };
        // SAFETY: one block per row; the sizes are checked above.
        unsafe { self.run(&kernel.launch(rows))? };
        Ok(out)
    }

    /// Normalises the heads of `x`, `[tokens, heads * head_dim]`, if `norm` has a weight
    /// `[head_dim]`, and applies the rotary embedding by the step's angles.
    pub(crate) fn norm_and_turn(
        &self,
        x: &Tensor,
        heads: usize,
        norm: Option<&Tensor>,
        eps: f32,
        step: &Step,
    ) -> Result<()> {
        let (tokens, half) = step.cos.dims2()?;
        same(x.elem_count(), tokens * heads * half * 2)?;
        if let Some(weight) = norm {
            same(weight.elem_count(), half * 2)?;
        }
        let kernel = NormAndTurn {
            x: self.at(x)?,
            weight: norm.map_or(Ok(Pointer::NULL), |weight| self.at(weight))?,
            cos: self.at(&step.cos)?,
            sin: self.at(&step.sin)?,
            heads: int(heads)?,
            half: int(half)?,
            eps,
        };
        // SAFETY: one warp per head of each token; the sizes are checked above.
        unsafe { self.run(&kernel.launch(tokens)) }
    }

    /// Computes `gate = silu(gate) * up`. Both have the same shape.
    pub(crate) fn swiglu(&self, gate: &Tensor, up: &Tensor) -> Result<()> {
        let len = gate.elem_count();
        same(up.elem_count(), len)?;
        let kernel = Swiglu { gate: self.at(gate)?, up: self.at(up)?, len: int(len)? };
        // SAFETY: both have `len` numbers.
        unsafe { self.run(&kernel.launch()) }
    }

    /// Adds `bias`, `[width]`, to every row of `x`, `[rows, width]`.
    pub(crate) fn add_bias(&self, x: &Tensor, bias: &Tensor) -> Result<()> {
        let (rows, width) = x.dims2()?;
        same(bias.elem_count(), width)?;
        let (len, width) = (int(rows * width)?, int(width)?);
        let kernel = AddBias { x: self.at(x)?, bias: self.at(bias)?, len, width };
        // SAFETY: `x` has rows of `width` numbers, the length of the bias.
        unsafe { self.run(&kernel.launch()) }
    }
}
