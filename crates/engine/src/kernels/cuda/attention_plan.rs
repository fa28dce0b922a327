//! Assigns the attention of a step to blocks: once per step, on the CPU, for all layers.

use super::launch::tile_rows;
use crate::layout::{KvShape, PAGE_TOKENS, Spans};

/// The fewest pages per block when a tile is split. With fewer, combining would cost as much as it
/// saves.
const MIN_PAGES_PER_BLOCK: usize = 4;
/// The part of an item that writes its result directly: `NO_PART` in attention.cu.
const NO_PART: u32 = u32::MAX;

/// The blocks of one launch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pass {
    /// Rows of a tile.
    pub(crate) rows: usize,
    /// `Item`s of attention.cu.
    pub(crate) items: Vec<[u32; 7]>,
    /// `Join`s of attention.cu: the tokens of split tiles.
    pub(crate) joins: Vec<[u32; 4]>,
    /// The number of items with partial results.
    pub(crate) parts: usize,
}

/// The attention of a step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AttentionPlan {
    /// The page tables of all sequences, concatenated.
    pub(crate) tables: Vec<u32>,
    /// One launch for single tokens and one for chunks, whose tiles differ in size.
    pub(crate) passes: Vec<Pass>,
}

/// Tokens of one sequence that one item computes.
struct Tile {
    first_token: usize,
    tokens: usize,
    position: usize,
    table: usize,
}

impl AttentionPlan {
    /// Plans the attention of a batch for a model of `heads` query heads. Tiles are split until
    /// there are about `blocks` blocks, the number that keeps the device busy.
    pub(crate) fn new(spans: Spans<'_>, heads: usize, shape: KvShape, blocks: usize) -> Self {
        let group = heads / shape.kv_heads;
        let mut tables = Vec::new();
        let (mut single, mut chunks) = (Vec::new(), Vec::new());
        let mut first_token = 0;
        let longest = spans.q_lens.iter().copied().max().unwrap_or(0);
        let chunk_rows = tile_rows(shape.kv_type, longest * group);
        for (sequence, q_len) in spans.q_lens.iter().enumerate() {
            let start = spans.kv_lens[sequence] - q_len;
            let table = tables.len();
            let pages = spans.kv_lens[sequence].div_ceil(PAGE_TOKENS);
            tables.extend_from_slice(&spans.block_table(sequence)[..pages]);
            let (tiles, most) = match q_len {
                1 => (&mut single, 1),
                _ => (&mut chunks, chunk_rows / group),
            };
            for from in (0..*q_len).step_by(most) {
                let tokens = most.min(q_len - from);
                let first_token = first_token + from;
                tiles.push(Tile { first_token, tokens, position: start + from, table });
            }
            first_token += q_len;
        }
        let single_rows = tile_rows(shape.kv_type, group);
        let passes = [(single, single_rows), (chunks, chunk_rows)].into_iter();
        let passes = passes
            .filter(|(tiles, _)| !tiles.is_empty())
            .map(|(tiles, rows)| Pass::new(&tiles, rows, group, blocks / shape.kv_heads.max(1)))
            .collect();
        Self { tables, passes }
    }
}

impl Pass {
    fn new(tiles: &[Tile], rows: usize, group: usize, blocks: usize) -> Self {
        let mut pass = Self { rows, ..Self::default() };
        let wanted = (blocks / tiles.len()).max(1);
        for tile in tiles {
            let pages = (tile.position + tile.tokens).div_ceil(PAGE_TOKENS);
            let splits = (pages / MIN_PAGES_PER_BLOCK).clamp(1, wanted);
            let each = pages.div_ceil(splits);
            let first_part = pass.parts;
            for begin in (0..pages).step_by(each) {
                let part = if splits == 1 { NO_PART } else { pass.parts as u32 };
                pass.parts += usize::from(splits > 1);
                pass.items.push([
                    tile.first_token as u32,
                    tile.tokens as u32,
                    tile.position as u32,
                    tile.table as u32,
                    begin as u32,
                    (begin + each).min(pages) as u32,
                    part,
                ]);
            }
            if splits > 1 {
                let parts = (pass.parts - first_part) as u32;
                pass.joins.extend((0..tile.tokens).map(|token| {
                    let row = (token * group) as u32;
                    [(tile.first_token + token) as u32, first_part as u32, parts, row]
                }));
            }
        }
        pass
    }

    /// The number of f32 that the partial results take.
    pub(crate) fn part_numbers(&self, shape: KvShape) -> usize {
        self.parts * shape.kv_heads * self.rows * (shape.head_dim + 2)
    }
}
