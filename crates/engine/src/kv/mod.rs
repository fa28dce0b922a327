//! Keys and values of all running sequences, in fixed pages.
//!
//! [`PageAllocator`] knows which pages are free, [`BlockTable`] is a sequence's right to its pages
//! and gives them back when dropped, [`KvPool`] holds the numbers. A sequence is admitted only with
//! pages for all it may ever need, so a load never ends in out-of-memory.

mod blocks;
mod plan;
mod pool;

pub use blocks::{BlockTable, PageAllocator};
pub use plan::KvPlan;
pub use pool::{KvPool, KvShape, KvType, LayerPages};

/// Tokens a page holds. A multiple of 32, which paged attention on CUDA asks for.
pub const PAGE_TOKENS: usize = 32;
