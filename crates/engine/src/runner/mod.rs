//! The engine as its callers see it, and the thread that computes.
//!
//! [`Engine`] is a handle. Model, pages, scheduler and streams have one owner, the compute thread
//! ([`compute`]), which is reached by messages; so there are no locks on the way of a token.

mod backend;
mod compute;
mod embed;
mod generation;
mod handle;
mod memory;
mod options;
mod outlet;
mod prompt;
mod sink;
mod stream;
mod survey;

pub use embed::PendingEmbedding;
pub use generation::{CancelHandle, Generation};
pub use handle::{Engine, EngineLoad, EngineTotals};
pub use memory::MemoryPlan;
pub use options::{DeviceChoice, EngineOptions};
pub use survey::Survey;
