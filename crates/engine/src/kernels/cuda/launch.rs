//! How each kernel is launched: its name, its blocks, and what they share. One place for the engine and
//! for the tests, which run the same launches on the CPU.

use crate::kv::{KvType, PAGE_TOKENS};

/// How a kernel is launched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Launch {
    /// The kernel's name in its module.
    pub(crate) name: String,
    /// Blocks.
    pub(crate) grid: (u32, u32),
    /// Threads of a block.
    pub(crate) threads: u32,
    /// Bytes of shared memory of a block.
    pub(crate) shared_bytes: u32,
}

/// Threads of a block where nothing asks for another number.
const THREADS: usize = 256;
const WARP: usize = 32;
/// Threads of a block of attention: `THREADS` in attention.cu.
const ATTENTION_THREADS: usize = 128;
/// Numbers per head that attention is compiled for.
#[cfg(feature = "cuda")]
pub(crate) const HEAD_DIMS: [usize; 4] = [16, 32, 64, 128];
/// Rows of a tile that attention is compiled for; the last one for pages of f16 alone.
pub(super) const TILE_ROWS: [usize; 4] = [4, 8, 16, 32];

impl Launch {
    fn new(name: impl Into<String>, grid: (usize, usize), threads: usize, shared: usize) -> Self {
        // Steps are bounded (options.rs), and no count here comes near 2^31.
        let grid = (grid.0 as u32, grid.1 as u32);
        Self { name: name.into(), grid, threads: threads as u32, shared_bytes: shared as u32 }
    }

    /// `rms_norm` or `add_rms_norm` of so many rows.
    pub(crate) fn norm(name: &str, rows: usize) -> Self {
        Self::new(name, (rows, 1), THREADS, THREADS / WARP * size_of::<f32>())
    }

    /// `norm_and_turn` of so many heads of each token.
    pub(crate) fn norm_and_turn(tokens: usize, heads: usize) -> Self {
        const HEADS: usize = 4;
        Self::new("norm_and_turn", (tokens, heads.div_ceil(HEADS)), HEADS * WARP, 0)
    }

    /// `swiglu` or `add_bias` of so many numbers.
    pub(crate) fn each(name: &str, len: usize) -> Self {
        Self::new(name, (len.div_ceil(THREADS), 1), THREADS, 0)
    }

    /// `mix_experts` or `open_gate`: every number of rows, where a thread must know its row.
    pub(crate) fn each_of_rows(name: &str, rows: usize, width: usize) -> Self {
        Self::new(name, (rows, width.div_ceil(THREADS)), THREADS, 0)
    }

    /// Keys and values of so many tokens to their pages.
    pub(crate) fn write_pages(kv_type: KvType, tokens: usize) -> Self {
        Self::new(format!("write_pages_{}", kind(kv_type)), (tokens, 1), THREADS, 0)
    }

    /// The experts of so many tokens.
    pub(crate) fn choose_experts(tokens: usize, experts: usize) -> Self {
        Self::new("choose_experts", (tokens, 1), WARP, experts * size_of::<f32>())
    }

    /// Attention of so many items, in tiles of `rows`.
    pub(crate) fn attend(
        kv_type: KvType,
        head_dim: usize,
        rows: usize,
        items: usize,
        kv_heads: usize,
    ) -> Self {
        // As attention.cu lays it out: queries, weights, shrinks; values; keys, a word more each.
        let words = head_dim * kv_type.size() / 4;
        let floats = rows * (head_dim + PAGE_TOKENS + 1) + PAGE_TOKENS * (2 * words + 1);
        let name = format!("attend_{}_{head_dim}_{rows}", kind(kv_type));
        Self::new(name, (items, kv_heads), ATTENTION_THREADS, floats * size_of::<f32>())
    }

    /// What the blocks of split tiles kept, put together for so many tokens.
    pub(crate) fn join_parts(joins: usize, heads: usize) -> Self {
        Self::new("join_parts", (joins, heads), ATTENTION_THREADS, 0)
    }
}

fn kind(kv_type: KvType) -> &'static str {
    match kv_type {
        KvType::F32 => "f32",
        KvType::F16 => "f16",
    }
}

/// The fewest rows of a tile that hold `rows`, or the most there are.
pub(crate) fn tile_rows(kv_type: KvType, rows: usize) -> usize {
    let sizes = match kv_type {
        // 48 KiB of shared memory hold no more.
        KvType::F32 => &TILE_ROWS[..3],
        KvType::F16 => &TILE_ROWS[..],
    };
    let fitting = sizes.iter().find(|size| **size >= rows);
    *fitting.unwrap_or(&sizes[sizes.len() - 1])
}
