//! # queue: where tasks wait (being written)
mod contract;
pub mod watch;

pub use contract::*;
