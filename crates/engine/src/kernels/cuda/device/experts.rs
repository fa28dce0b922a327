//! Which experts tokens go through, and what those make together.

use candle_core::{Result, Tensor, bail};

use super::super::arguments::{ChooseExperts, MixExperts, OpenGate};
use super::{Kernels, int, same};

impl Kernels {
    /// The experts that tokens go through, by the router's `logits`, `[tokens, experts]`: which, and with
    /// what weight, both `[tokens, used]`.
    pub(crate) fn choose_experts(
        &self,
        logits: &Tensor,
        used: usize,
        normalized: bool,
    ) -> Result<(Tensor, Tensor)> {
        let (tokens, experts) = logits.dims2()?;
        if used > experts {
            bail!("{used} of {experts} experts")
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
        // SAFETY: a block for every token, with room for its logits.
        unsafe { self.run(&kernel.launch(tokens))? };
        Ok((chosen, weights))
    }

    /// Adds to `out`, `[tokens, width]`, what experts `made`, `[tokens, used, width]`, by their weights.
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
        // SAFETY: a thread for every number of `out`, as checked.
        unsafe { self.run(&kernel.launch(tokens)) }
    }

    /// Scales every row of `x`, `[rows, width]`, by the sigmoid of its gate, `[rows]`.
    pub(crate) fn open_gate(&self, x: &Tensor, gate: &Tensor) -> Result<()> {
        let (rows, width) = x.dims2()?;
        same(gate.elem_count(), rows)?;
        let kernel = OpenGate { x: self.at(x)?, gate: self.at(gate)?, width: int(width)? };
        // SAFETY: a thread for every number of `x`, a gate for every row.
        unsafe { self.run(&kernel.launch(rows)) }
    }
}
