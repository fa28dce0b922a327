//! Keys and values of all running sequences, in pages of fixed size.
//!
//! [`PageAllocator`] tracks which pages are free, [`BlockTable`] holds a sequence's pages and frees
//! them when dropped, [`KvPool`] stores the numbers. A full page has a [`PageKey`] and stays cached
//! after its last holder, so that a common beginning of one tenant's prompts is computed once. The
//! pool never has more pages than [`KvPlan`] computed at start, so load cannot exhaust memory.

mod blocks;
mod plan;
mod pool;
mod prefix;

pub use blocks::{BlockTable, PageAllocator};
pub use plan::KvPlan;
pub use pool::{KvPool, KvShape, KvType, LayerPages};
pub use prefix::PageKey;

/// Tokens per page. A multiple of 32, which paged attention on CUDA requires.
pub const PAGE_TOKENS: usize = 32;
