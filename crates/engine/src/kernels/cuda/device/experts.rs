//! Launching the kernels of mixture-of-experts layers.

use candle_core::{Result, Tensor, bail};

use super::super::arguments::{ChooseExperts, MixExperts, OpenGate};
use super::{Kernels, int, same};

impl Kernels {
    /// Chooses the experts of each token by the router's `logits`, `[tokens, experts]`. Returns
    /// their indices (u32) and weights (f32), both `[tokens, used]`.
    pub(crate) fn choose_experts(
        &self,
        logits: &Tensor,
        used: usize,
        normalized: bool,
    ) -> Result<(Tensor, Tensor)> {
        let (tokens, experts) = logits.dims2()?;
        if used > experts {
            bail!("a model of {experts} experts cannot use {used} per token")
        }
        let chosen = self.blank_words((tokens, used))?;
        let weights = self.blank((tokens, used))?;
        let kernel = ChooseExperts {
            logits: self.at(logits)?,
            chosen: self.at(&chosen)?,
            weights: self.at(&weights)?,
            experts: int(experts)?,
            used: int(used)?,
            normalized: normalized.into(),
        };
        // SAFETY: one block per token, with shared memory for its logits.
        unsafe { self.run(&kernel.launch(tokens))? };
        Ok((chosen, weights))
    }

    /// Adds the experts' results, `made` `[tokens, used, width]`, times their `weights` `[tokens,
    /// used]`, to `out` `[tokens, width]`.
    pub(crate) fn mix_experts(&self, made: &Tensor, weights: &Tensor, out: &Tensor) -> Result<()> {
        let (tokens, used, width) = made.dims3()?;
        same(weights.elem_count(), tokens * used)?;
        same(out.elem_count(), tokens * width)?;
        let kernel = MixExperts {
            made: self.at(made)?,
            weights: self.at(weights)?,
            out: self.at(out)?,
            used: int(used)?,
            width: int(width)?,
        };
        // SAFETY: one thread per number of `out`; the sizes are checked above.
        unsafe { self.run(&kernel.launch(tokens)) }
    }

    /// Scales every row of `x`, `[rows, width]`, by the sigmoid of its gate, `[rows]`.
    pub(crate) fn open_gate(&self, x: &Tensor, gate: &Tensor) -> Result<()> {
        let (rows, width) = x.dims2()?;
        same(gate.elem_count(), rows)?;
        let kernel = OpenGate { x: self.at(x)?, gate: self.at(gate)?, width: int(width)? };
        // SAFETY: one thread per number of `x`, and one gate per row.
        unsafe { self.run(&kernel.launch(rows)) }
    }
}
