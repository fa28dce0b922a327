//! Groups the rows of a step by adapter.

use super::{AdapterId, Adapters, Projection};
use crate::batch::ForwardBatch;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::LowRankPlan;
use crate::kernels::low_rank;

/// The rows of a step that have adapters, grouped by adapter. The buffers are kept for the next
/// step.
#[derive(Debug, Default)]
pub(crate) struct AdaptedRows {
    /// Row indices in the step, ascending within an adapter.
    rows: Vec<u32>,
    /// For each adapter with rows: its id, and the end of its range in `rows`.
    groups: Vec<(AdapterId, usize)>,
}

impl AdaptedRows {
    /// Groups the rows of `batch` by adapter. `adapters` is the number of loaded adapters.
    ///
    /// # Errors
    /// When the batch names an adapter that is not loaded.
    pub(crate) fn sort(
        &mut self,
        batch: &ForwardBatch,
        adapters: usize,
    ) -> candle_core::Result<()> {
        self.rows.clear();
        self.groups.clear();
        for id in batch.adapters.iter().copied().flatten() {
            if id.index() >= adapters {
                candle_core::bail!("adapter {} of {adapters} was requested", id.index())
            }
            if !self.groups.iter().any(|(other, _)| *other == id) {
                self.groups.push((id, 0));
            }
        }
        for (id, end) in &mut self.groups {
            let mut row = 0;
            for (adapter, len) in batch.adapters.iter().zip(&batch.q_lens) {
                if *adapter == Some(*id) {
                    self.rows.extend(row..row + *len as u32);
                }
                row += *len as u32;
            }
            *end = self.rows.len();
        }
        Ok(())
    }

    /// Adds each adapter's product with its rows of `x` `[tokens, inputs]` to `y` `[tokens,
    /// outputs]`, the result of a layer's projection of `x`.
    pub(crate) fn add(
        &self,
        adapters: &Adapters,
        layer: usize,
        projection: Projection,
        x: &[f32],
        y: &mut [f32],
    ) {
        for (id, rows) in self.groups() {
            if let Some(delta) = adapters.delta(id, layer, projection) {
                low_rank::add(delta.as_kernel(), rows, x, y);
            }
        }
    }

    /// Returns the same rows as a plan for a device.
    #[cfg(feature = "cuda")]
    pub(crate) fn plan(&self) -> LowRankPlan {
        LowRankPlan::new(self.groups().map(|(id, rows)| (id.index(), rows)))
    }

    /// Returns each adapter's rows.
    fn groups(&self) -> impl Iterator<Item = (AdapterId, &[u32])> {
        let mut start = 0;
        self.groups.iter().map(move |(id, end)| {
            let rows = &self.rows[start..*end];
            start = *end;
            (*id, rows)
        })
    }
}
