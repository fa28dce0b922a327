//! Which rows of a step have which adapter, and the layout of adapters' matrices on the device.

use crate::kernels::low_rank::{LowRank, MAX_RANK};

/// The most rows of a tile, as in low_rank.cu.
pub(super) const TILE: usize = 8;

/// The rows of a step that have adapters, in tiles of one adapter each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LowRankPlan {
    /// The rows' indices in the step, grouped by adapter, `[adapted]`.
    pub(super) rows: Vec<u32>,
    /// `Tile`s of low_rank.cu.
    pub(super) tiles: Vec<[u32; 3]>,
}

impl LowRankPlan {
    /// Plans the groups, each an adapter's index and its rows. No row may appear twice.
    pub(crate) fn new<'a>(groups: impl Iterator<Item = (usize, &'a [u32])>) -> Self {
        let mut plan = Self::default();
        for (adapter, rows) in groups {
            for tile in rows.chunks(TILE) {
                plan.tiles.push([adapter as u32, plan.rows.len() as u32, tile.len() as u32]);
                plan.rows.extend_from_slice(tile);
            }
        }
        plan
    }
}

/// The matrices of all adapters for one projection, concatenated.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct PackedDeltas {
    /// Each adapter's `a`, then its `b`.
    pub(super) weights: Vec<f32>,
    /// A `Delta` of low_rank.cu per adapter.
    pub(super) table: Vec<[u32; 4]>,
    /// The largest rank.
    pub(super) max_rank: usize,
    /// The number of inputs of the projection.
    pub(super) inputs: usize,
    /// The number of outputs of the projection.
    pub(super) outputs: usize,
}

impl PackedDeltas {
    /// Packs the adapters' matrices in the adapters' order; `None` is an adapter that does not
    /// change this projection. Returns `None` if no adapter does.
    ///
    /// # Errors
    /// When the matrices have more than 2^32 numbers.
    pub(super) fn new<'a>(
        deltas: impl Iterator<Item = Option<LowRank<'a>>>,
    ) -> Result<Option<Self>, &'static str> {
        let mut packed = Self::default();
        for delta in deltas {
            let Some(LowRank { a, b, rank, scale }) = delta else {
                packed.table.push([0; 4]);
                continue;
            };
            assert!((1..=MAX_RANK).contains(&rank), "no such rank");
            if packed.max_rank == 0 {
                (packed.inputs, packed.outputs) = (a.len() / rank, b.len() / rank);
            }
            let expected = [rank * packed.inputs, rank * packed.outputs];
            assert_eq!([a.len(), b.len()], expected, "the matrices belong to another projection");
            let mut append = |matrix: &[f32]| {
                let at = u32::try_from(packed.weights.len());
                packed.weights.extend_from_slice(matrix);
                at.map_err(
                    |_| "the adapters of one projection have more than 2^32 numbers; load fewer",
                )
            };
            let [a, b] = [append(a)?, append(b)?];
            packed.table.push([a, b, rank as u32, scale.to_bits()]);
            packed.max_rank = packed.max_rank.max(rank);
        }
        Ok((packed.max_rank > 0).then_some(packed))
    }
}
