//! Launch configurations: the grid, threads and shared memory of each kernel. The engine and the
//! tests, which run the same launches on the CPU, share them.

use super::arguments::{
    AddBias, AddRmsNorm, Argmax, Argument, Attend, ChooseExperts, JoinParts, Kernel, LowRankExpand,
    LowRankShrink, MixExperts, NormAndTurn, OpenGate, RmsNorm, Swiglu, WritePages,
};
use super::low_rank_plan::TILE;
use crate::layout::{KvType, PAGE_TOKENS};

/// A kernel with its arguments and launch configuration.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Launch {
    /// The kernel's name in its module.
    pub(super) name: String,
    /// The number of blocks, in x and y.
    pub(super) grid: (u32, u32),
    /// Threads per block.
    pub(super) threads: u32,
    /// Bytes of shared memory per block.
    pub(super) shared_bytes: u32,
    /// The kernel's arguments, in order. The memory that pointers lead to must live until the
    /// kernel has run.
    pub(super) arguments: Vec<Argument>,
}

/// The default number of threads per block.
const THREADS: usize = 256;
const WARP: usize = 32;
/// Threads per block of attention: `THREADS` in attention.cu.
const ATTENTION_THREADS: usize = 128;
/// The head dimensions that attention is compiled for.
#[cfg(feature = "cuda")]
pub(crate) const HEAD_DIMS: [usize; 4] = [16, 32, 64, 128];
/// The tile sizes, in rows, that attention is compiled for; the last only for pages of f16.
pub(super) const TILE_ROWS: [usize; 4] = [4, 8, 16, 32];

impl Launch {
    /// A launch of `grid` blocks of `threads` threads, each with shared memory for `shared` f32.
    fn new<K: Kernel>(kernel: &K, grid: (usize, usize), threads: usize, shared: usize) -> Self {
        Self {
            name: K::NAME.to_owned(),
            // Steps are bounded (options.rs), and no count here comes near 2^31.
            grid: (grid.0 as u32, grid.1 as u32),
            threads: threads as u32,
            shared_bytes: (shared * size_of::<f32>()) as u32,
            arguments: kernel.arguments(),
        }
    }

    /// Selects the kernel compiled for a type or size.
    fn variant(self, variant: &str) -> Self {
        Self { name: format!("{}_{variant}", self.name), ..self }
    }

    /// A launch with one thread for each of `len` numbers.
    fn each<K: Kernel>(kernel: &K, len: usize) -> Self {
        Self::new(kernel, (len.div_ceil(THREADS), 1), THREADS, 0)
    }

    /// A launch with one thread per number of `rows` rows, in which a block lies within one row.
    fn per_element_of_rows<K: Kernel>(kernel: &K, rows: usize, width: i32) -> Self {
        Self::new(kernel, (rows, (width as usize).div_ceil(THREADS)), THREADS, 0)
    }
}

impl RmsNorm<'_> {
    /// Launches one block per row.
    pub(crate) fn launch(&self, rows: usize) -> Launch {
        Launch::new(self, (rows, 1), THREADS, THREADS / WARP)
    }
}

impl AddRmsNorm<'_> {
    /// Launches one block per row.
    pub(crate) fn launch(&self, rows: usize) -> Launch {
        Launch::new(self, (rows, 1), THREADS, THREADS / WARP)
    }
}

impl NormAndTurn<'_> {
    /// Launches one warp per head of each token.
    pub(crate) fn launch(&self, tokens: usize) -> Launch {
        const HEADS: usize = 4;
        Launch::new(self, (tokens, (self.heads as usize).div_ceil(HEADS)), HEADS * WARP, 0)
    }
}

impl Swiglu<'_> {
    /// Launches one thread per number.
    pub(crate) fn launch(&self) -> Launch {
        Launch::each(self, self.len as usize)
    }
}

impl AddBias<'_> {
    /// Launches one thread per number.
    pub(crate) fn launch(&self) -> Launch {
        Launch::each(self, self.len as usize)
    }
}

impl ChooseExperts<'_> {
    /// Launches one block, of one warp, per token.
    pub(crate) fn launch(&self, tokens: usize) -> Launch {
        Launch::new(self, (tokens, 1), WARP, self.experts as usize)
    }
}

impl MixExperts<'_> {
    /// Launches one thread per number of each token.
    pub(crate) fn launch(&self, tokens: usize) -> Launch {
        Launch::per_element_of_rows(self, tokens, self.width)
    }
}

impl OpenGate<'_> {
    /// Launches one thread per number of each row.
    pub(crate) fn launch(&self, rows: usize) -> Launch {
        Launch::per_element_of_rows(self, rows, self.width)
    }
}

impl WritePages<'_> {
    /// Launches one block per token.
    pub(crate) fn launch(&self, kv_type: KvType, tokens: usize) -> Launch {
        Launch::new(self, (tokens, 1), THREADS, 0).variant(kind(kv_type))
    }
}

impl Attend<'_> {
    /// Launches one block per item and KV head, in tiles of `rows` rows.
    pub(crate) fn launch(
        &self,
        kv_type: KvType,
        head_dim: usize,
        rows: usize,
        items: usize,
    ) -> Launch {
        // The layout of attention.cu: queries, weights, shrinks; values; keys, padded by a word
        // each.
        let words = head_dim * kv_type.size() / 4;
        let shared = rows * (head_dim + PAGE_TOKENS + 1) + PAGE_TOKENS * (2 * words + 1);
        Launch::new(self, (items, self.kv_heads as usize), ATTENTION_THREADS, shared)
            .variant(&attention_variant(kv_type, head_dim, rows))
    }
}

impl JoinParts<'_> {
    /// Launches one block per join and query head.
    pub(crate) fn launch(&self, joins: usize) -> Launch {
        Launch::new(self, (joins, self.heads as usize), ATTENTION_THREADS, 0)
    }
}

impl LowRankShrink<'_> {
    /// Launches one warp per tile and number of the rank.
    pub(crate) fn launch(&self, tiles: usize) -> Launch {
        const WARPS: usize = 4;
        Launch::new(self, (tiles, (self.stride as usize).div_ceil(WARPS)), WARPS * WARP, 0)
    }
}

impl LowRankExpand<'_> {
    /// Launches one thread per tile and output.
    pub(crate) fn launch(&self, tiles: usize) -> Launch {
        let parts = (self.outputs as usize).div_ceil(THREADS);
        Launch::new(self, (tiles, parts), THREADS, TILE * self.stride as usize)
    }
}

impl Argmax<'_> {
    /// Launches one block per row.
    pub(crate) fn launch(&self, rows: usize) -> Launch {
        const WARPS: usize = 32;
        Launch::new(self, (rows, 1), WARPS * WARP, 2 * WARPS)
    }
}

fn kind(kv_type: KvType) -> &'static str {
    match kv_type {
        KvType::F32 => "f32",
        KvType::F16 => "f16",
    }
}

fn attention_variant(kv_type: KvType, head_dim: usize, rows: usize) -> String {
    format!("{}_{head_dim}_{rows}", kind(kv_type))
}

/// Returns the tile sizes, in rows, of a page type.
fn tile_sizes(kv_type: KvType) -> &'static [usize] {
    match kv_type {
        // Larger ones do not fit into 48 KiB of shared memory.
        KvType::F32 => &TILE_ROWS[..3],
        KvType::F16 => &TILE_ROWS[..],
    }
}

/// Returns the smallest tile size that holds `rows`, or the largest one.
pub(super) fn tile_rows(kv_type: KvType, rows: usize) -> usize {
    let sizes = tile_sizes(kv_type);
    let fitting = sizes.iter().find(|size| **size >= rows);
    *fitting.unwrap_or(&sizes[sizes.len() - 1])
}

/// Returns the names in the module of a kernel's variants.
#[cfg(feature = "cuda")]
pub(super) fn variants(name: &str) -> Vec<String> {
    const KINDS: [KvType; 2] = [KvType::F32, KvType::F16];
    let variants: Vec<String> = if name == WritePages::NAME {
        KINDS.map(|kv_type| kind(kv_type).to_owned()).to_vec()
    } else if name == Attend::NAME {
        let of = |kv_type, dim| {
            let rows = tile_sizes(kv_type).iter();
            rows.map(move |rows| attention_variant(kv_type, dim, *rows))
        };
        let all = KINDS.into_iter().flat_map(|kv_type| HEAD_DIMS.map(|dim| (kv_type, dim)));
        all.flat_map(|(kv_type, dim)| of(kv_type, dim)).collect()
    } else {
        return vec![name.to_owned()];
    };
    variants.iter().map(|variant| format!("{name}_{variant}")).collect()
}
