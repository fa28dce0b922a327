//! Launching LoRA products.

use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use candle_core::{Result, Tensor};

use super::super::arguments::{LowRankExpand, LowRankShrink};
use super::super::low_rank_plan::{LowRankPlan, PackedDeltas};
use super::{Kernels, int, same};
use crate::kernels::low_rank::LowRank;

/// The matrices of all adapters for one projection, on the device.
#[derive(Debug)]
pub(crate) struct Deltas {
    weights: CudaSlice<f32>,
    /// A `Delta` of low_rank.cu per adapter.
    table: CudaSlice<u32>,
    adapters: usize,
    max_rank: usize,
    inputs: usize,
    outputs: usize,
}

/// The rows of a step that have adapters, on the device.
#[derive(Debug)]
pub(crate) struct AdaptedStep {
    tokens: usize,
    adapters: usize,
    num_tiles: usize,
    tiles: CudaSlice<u32>,
    /// `[adapted]`
    rows: CudaSlice<u32>,
    /// The products with `a`, `[adapted, max_rank]`; each projection overwrites them.
    between: CudaSlice<f32>,
    max_rank: usize,
}

impl Kernels {
    /// Uploads the adapters' matrices for one projection. Returns `None` if no adapter has any.
    pub(crate) fn deltas<'a>(
        &self,
        deltas: impl Iterator<Item = Option<LowRank<'a>>>,
    ) -> Result<Option<Deltas>> {
        let packed = PackedDeltas::new(deltas);
        let Some(packed) = packed.map_err(candle_core::Error::msg)? else { return Ok(None) };
        Ok(Some(Deltas {
            weights: self.device.clone_htod(&packed.weights)?,
            table: self.upload(packed.table.as_flattened())?,
            adapters: packed.table.len(),
            max_rank: packed.max_rank,
            inputs: packed.inputs,
            outputs: packed.outputs,
        }))
    }

    /// Uploads which rows have which adapter, in a step of `tokens` tokens, for `adapters` adapters
    /// of ranks up to `max_rank`. Returns `None` if no row has an adapter.
    pub(crate) fn adapted_step(
        &self,
        plan: &LowRankPlan,
        tokens: usize,
        adapters: usize,
        max_rank: usize,
    ) -> Result<Option<AdaptedStep>> {
        if plan.rows.is_empty() {
            return Ok(None);
        }
        // The kernels do not check these.
        let foreign = plan.rows.iter().any(|row| *row as usize >= tokens);
        if foreign || plan.tiles.iter().any(|[adapter, ..]| *adapter as usize >= adapters) {
            candle_core::bail!(
                "a step names rows beyond its {tokens}, or adapters beyond the {adapters} loaded"
            )
        }
        Ok(Some(AdaptedStep {
            tokens,
            adapters,
            num_tiles: plan.tiles.len(),
            tiles: self.upload(plan.tiles.as_flattened())?,
            rows: self.upload(&plan.rows)?,
            // SAFETY: the first kernel writes whatever the second reads.
            between: unsafe { self.device.alloc::<f32>(plan.rows.len() * max_rank.max(1))? },
            max_rank,
        }))
    }

    /// Adds each adapter's product with its rows of `x`, `[tokens, inputs]`, to the same rows of
    /// the projection's result `y`, `[tokens, outputs]`.
    pub(crate) fn add_low_rank(
        &self,
        deltas: &Deltas,
        step: &AdaptedStep,
        x: &Tensor,
        y: &Tensor,
    ) -> Result<()> {
        same(x.elem_count(), step.tokens * deltas.inputs)?;
        same(y.elem_count(), step.tokens * deltas.outputs)?;
        same(deltas.adapters, step.adapters)?;
        if deltas.max_rank > step.max_rank {
            candle_core::bail!(
                "rank {} in a step of ranks up to {}",
                deltas.max_rank,
                step.max_rank
            )
        }
        let kernel = LowRankShrink {
            x: self.at(x)?,
            weights: self.slice(&deltas.weights),
            deltas: self.slice(&deltas.table),
            tiles: self.slice(&step.tiles),
            rows: self.slice(&step.rows),
            between: self.slice(&step.between),
            inputs: int(deltas.inputs)?,
            stride: int(deltas.max_rank)?,
        };
        // SAFETY: the tiles name rows of the step and adapters of the table, which belongs to these
        // weights; `between` has room for `max_rank` numbers per adapted row.
        unsafe { self.run(&kernel.launch(step.num_tiles))? };
        let kernel = LowRankExpand {
            between: self.slice(&step.between),
            weights: self.slice(&deltas.weights),
            deltas: self.slice(&deltas.table),
            tiles: self.slice(&step.tiles),
            rows: self.slice(&step.rows),
            y: self.at(y)?,
            outputs: int(deltas.outputs)?,
            stride: int(deltas.max_rank)?,
        };
        // SAFETY: as above, and no two tiles share a row.
        unsafe { self.run(&kernel.launch(step.num_tiles)) }
    }
}
