//! Which rows of a step are whose, and how what adapters add to a projection lies on the device.

use crate::kernels::low_rank::{LowRank, MOST_RANK};

/// Rows of a tile, at most: as in low_rank.cu.
pub(super) const TILE: usize = 8;

/// The rows of a step that adapters add to, in tiles of one adapter each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LowRankPlan {
    /// The rows, adapter by adapter. `[adapted]`
    pub(super) rows: Vec<u32>,
    /// `Tile` of low_rank.cu, one after the other.
    pub(super) tiles: Vec<[u32; 3]>,
}

impl LowRankPlan {
    /// Of each adapter's rows, by its place among the adapters. No row is named twice.
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

/// What all adapters add to one projection, one after the other.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct PackedDeltas {
    /// Each adapter's `a`, then its `b`.
    pub(super) weights: Vec<f32>,
    /// `Delta` of low_rank.cu for each adapter.
    pub(super) table: Vec<[u32; 4]>,
    /// The largest rank among them.
    pub(super) most_rank: usize,
    /// Numbers that the projection takes.
    pub(super) inputs: usize,
    /// Numbers that it makes.
    pub(super) outputs: usize,
}

impl PackedDeltas {
    /// In the adapters' order; one may add nothing. None if all do so.
    ///
    /// # Errors
    /// When they are more numbers than 32 bits count.
    pub(super) fn new<'a>(
        deltas: impl Iterator<Item = Option<LowRank<'a>>>,
    ) -> Result<Option<Self>, &'static str> {
        let mut packed = Self::default();
        for delta in deltas {
            let Some(LowRank { a, b, rank, scale }) = delta else {
                packed.table.push([0; 4]);
                continue;
            };
            assert!((1..=MOST_RANK).contains(&rank), "no such rank");
            if packed.most_rank == 0 {
                (packed.inputs, packed.outputs) = (a.len() / rank, b.len() / rank);
            }
            let expected = [rank * packed.inputs, rank * packed.outputs];
            assert_eq!([a.len(), b.len()], expected, "of another projection");
            let mut append = |matrix: &[f32]| {
                let at = u32::try_from(packed.weights.len());
                packed.weights.extend_from_slice(matrix);
                at.map_err(
                    |_| "the adapters of one projection have more than 2^32 numbers; load fewer",
                )
            };
            let [a, b] = [append(a)?, append(b)?];
            packed.table.push([a, b, rank as u32, scale.to_bits()]);
            packed.most_rank = packed.most_rank.max(rank);
        }
        Ok((packed.most_rank > 0).then_some(packed))
    }
}
