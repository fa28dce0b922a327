//! Which rows of a step are whose.

use super::{AdapterId, Adapters, Projection};
use crate::batch::ForwardBatch;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::LowRankPlan;
use crate::kernels::low_rank;

/// The rows of a step that an adapter adds to, adapter by adapter. The memory stays for the next step.
#[derive(Debug, Default)]
pub(crate) struct AdaptedRows {
    /// Ascending within an adapter.
    rows: Vec<u32>,
    /// Whose rows, and where they end.
    groups: Vec<(AdapterId, usize)>,
}

impl AdaptedRows {
    /// Sorts the rows of `batch` by adapter, of which there are so many.
    ///
    /// # Errors
    /// When one is asked for that is not there.
    pub(crate) fn sort(
        &mut self,
        batch: &ForwardBatch,
        adapters: usize,
    ) -> candle_core::Result<()> {
        self.rows.clear();
        self.groups.clear();
        for id in batch.adapters.iter().copied().flatten() {
            if id.index() >= adapters {
                candle_core::bail!("adapter {} of {adapters} was asked for", id.index())
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

    /// Adds to `y`, what a projection of a layer made of `x`, what each adapter adds to its rows.
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

    /// The same rows as a device takes them.
    #[cfg(feature = "cuda")]
    pub(crate) fn plan(&self) -> LowRankPlan {
        LowRankPlan::new(self.groups().map(|(id, rows)| (id.index(), rows)))
    }

    /// Each adapter's rows.
    fn groups(&self) -> impl Iterator<Item = (AdapterId, &[u32])> {
        let mut start = 0;
        self.groups.iter().map(move |(id, end)| {
            let rows = &self.rows[start..*end];
            start = *end;
            (*id, rows)
        })
    }
}
