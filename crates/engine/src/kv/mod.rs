//! Keys and values of all running sequences, in fixed pages.
//!
//! [`PageAllocator`] knows which pages are free, [`BlockTable`] is a sequence's right to its pages
//! and gives them back when dropped, [`KvPool`] holds the numbers. Full pages are named by a
//! [`PageKey`] and stay cached after their last holder, so that equal beginnings of one tenant's
//! prompts are computed once. There are never more pages than [`KvPlan`] counted at start, so a
//! load never ends in out-of-memory.

mod blocks;
mod plan;
mod pool;
mod prefix;

pub use blocks::{BlockTable, PageAllocator};
pub use plan::KvPlan;
pub use pool::{KvPool, KvShape, KvType, LayerPages};
pub use prefix::PageKey;

/// Tokens a page holds. A multiple of 32, which paged attention on CUDA asks for.
pub const PAGE_TOKENS: usize = 32;
