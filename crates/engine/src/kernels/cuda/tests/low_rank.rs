//! LoRA products against their twin.

use rand::{SeedableRng, rngs::StdRng};

use super::super::arguments::{LowRankExpand, LowRankShrink};
use super::super::host::{Machine, Memory};
use super::super::low_rank_plan::{LowRankPlan, PackedDeltas, TILE};
use super::{assert_near, draw};
use crate::kernels::low_rank::{self, LowRank};

/// An adapter's matrices for a projection.
struct Delta {
    a: Vec<f32>,
    b: Vec<f32>,
    rank: usize,
    scale: f32,
}

impl Delta {
    fn new(random: &mut StdRng, rank: usize, [inputs, outputs]: [usize; 2]) -> Self {
        let scale = 0.25 + 1.0 / rank as f32;
        Self { a: draw(random, rank * inputs), b: draw(random, rank * outputs), rank, scale }
    }

    fn as_kernel(&self) -> LowRank<'_> {
        LowRank { a: &self.a, b: &self.b, rank: self.rank, scale: self.scale }
    }
}

/// Launches the kernels as the engine does. Rows of `x` without an adapter are NaN.
fn add(
    machine: &Machine,
    adapters: &[Option<Delta>],
    groups: &[(usize, Vec<u32>)],
    x: &[f32],
    y: &[f32],
    what: &str,
) -> Vec<f32> {
    let packed = adapters.iter().map(|delta| delta.as_ref().map(Delta::as_kernel));
    let packed = PackedDeltas::new(packed).unwrap().expect("no adapter has matrices");
    let plan = LowRankPlan::new(groups.iter().map(|(adapter, rows)| (*adapter, &rows[..])));
    let mut memory = Memory::default();
    let shrink = LowRankShrink {
        x: memory.floats(x),
        weights: memory.floats(&packed.weights),
        deltas: memory.words(packed.table.iter().flatten().copied()),
        tiles: memory.words(plan.tiles.iter().flatten().copied()),
        rows: memory.words(plan.rows.iter().copied()),
        between: memory.blank(plan.rows.len() * packed.max_rank),
        inputs: packed.inputs as i32,
        stride: packed.max_rank as i32,
    };
    machine.run(&shrink.launch(plan.tiles.len()), &mut memory).expect(what);
    let expand = LowRankExpand {
        between: shrink.between,
        weights: shrink.weights,
        deltas: shrink.deltas,
        tiles: shrink.tiles,
        rows: shrink.rows,
        y: memory.floats(y),
        outputs: packed.outputs as i32,
        stride: shrink.stride,
    };
    machine.run(&expand.launch(plan.tiles.len()), &mut memory).expect(what);
    memory.floats_at(expand.y)
}

/// Several adapters of different ranks, one without matrices for this projection, one without rows,
/// and rows of the base model among the adapted ones.
#[test]
fn each_row_gets_the_low_rank_product_of_its_adapter() {
    let mut random = StdRng::seed_from_u64(9);
    for machine in Machine::all() {
        for (ranks, sizes) in [
            ([1, 3, 2], [5, 7]),
            ([16, 8, 4], [64, 300]),
            ([33, 5, 16], [100, 257]),
            ([2, 130, 64], [31, 96]),
        ] {
            let what = format!("{machine:?} {ranks:?} {sizes:?}");
            let [inputs, outputs] = sizes;
            let mut adapters: Vec<Option<Delta>> =
                ranks.iter().map(|rank| Some(Delta::new(&mut random, *rank, sizes))).collect();
            adapters.insert(1, None);
            adapters.push(Some(Delta::new(&mut random, 7, sizes)));
            // Adapter 2 has more rows than a tile, and they are not contiguous.
            let groups: [(usize, Vec<u32>); 4] = [
                (2, (0..2 * TILE as u32 + 3).map(|n| 2 * n + 1).collect()),
                (0, vec![0]),
                (1, vec![2, 4, 6]),
                (3, vec![8, 12]),
            ];
            let tokens = 2 * (2 * TILE + 3) + 2;
            let (mut x, y) = (vec![f32::NAN; tokens * inputs], draw(&mut random, tokens * outputs));
            for row in groups.iter().flat_map(|(_, rows)| rows) {
                let row = *row as usize * inputs;
                x[row..row + inputs].copy_from_slice(&draw(&mut random, inputs));
            }
            let mut expected = y.clone();
            for (adapter, rows) in &groups {
                if let Some(delta) = &adapters[*adapter] {
                    low_rank::add(delta.as_kernel(), rows, &x, &mut expected);
                }
            }
            let found = add(&machine, &adapters, &groups, &x, &y, &what);
            let unadapted = (0..tokens)
                .filter(|row| !groups.iter().any(|(_, rows)| rows.contains(&(*row as u32))))
                .chain([2, 4, 6]);
            for row in unadapted {
                let own = row * outputs..(row + 1) * outputs;
                assert_eq!(found[own.clone()], y[own], "{what}: row {row} has no adapter");
            }
            // The bound of rounding in sums of so many products of numbers up to 3, in another
            // order.
            let most = *ranks.iter().max().unwrap() as f32;
            let within = 1e-6 * (most * inputs as f32).sqrt();
            assert_near(&found, &expected, within, &what);

            // A row's result does not depend on the other rows.
            for (adapter, rows) in &groups {
                let row = rows[rows.len() / 2];
                let alone = add(&machine, &adapters, &[(*adapter, vec![row])], &x, &y, &what);
                let own = row as usize * outputs..(row as usize + 1) * outputs;
                assert_eq!(alone[own.clone()], found[own], "{what}: row {row} alone");
            }
        }
    }
}

#[test]
fn projections_without_adapters_have_no_deltas() {
    assert_eq!(PackedDeltas::new([None, None].into_iter()).unwrap(), None);
    assert_eq!(PackedDeltas::new(std::iter::empty()).unwrap(), None);
    let delta = LowRank { a: &[1.0, 2.0], b: &[3.0], rank: 1, scale: 0.5 };
    let packed = PackedDeltas::new([None, Some(delta)].into_iter()).unwrap().unwrap();
    assert_eq!(packed.table, [[0; 4], [0, 2, 1, 0.5_f32.to_bits()]]);
    assert_eq!(packed.weights, [1.0, 2.0, 3.0]);
}
