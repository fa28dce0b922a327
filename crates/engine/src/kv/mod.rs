//! Keys and values of all running sequences, in pages of fixed size.
//!
//! [`PageAllocator`] tracks which pages are free, [`BlockTable`] holds a sequence's pages and frees
//! them when dropped, [`KvPool`] stores the numbers. A full page has a [`PageKey`] and stays cached
//! after its last holder, so that a common beginning of one tenant's prompts is computed once. The
//! pool never has more pages than [`KvPlan`] computed at start, so load cannot exhaust memory.
//!
//! Layers of hybrid models have a recurrent state instead of keys and values. Each sequence has a slot for it in the
//! pool beside its pages (`sequence_state`), and other slots keep states at the ends of pages (`states`), so that a
//! common beginning is computed once there, too.

mod blocks;
mod plan;
mod pool;
mod prefix;
mod sequence_state;
mod states;

pub use blocks::{BlockTable, PageAllocator};
pub use plan::{KvPlan, StatePlan};
pub use pool::KvPool;
pub use prefix::{InjectedContent, PageKey};

pub use crate::layout::{KvShape, KvType, LayerPages, PAGE_TOKENS, StateShape};
