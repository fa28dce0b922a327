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
pub use pool::KvPool;
pub use prefix::{InjectedContent, PageKey};

pub use crate::layout::{KvShape, KvType, LayerPages, PAGE_TOKENS};
