//! The engine as its callers see it, and the thread that computes.
//!
//! [`Engine`] is a handle. Model, pages, scheduler and streams have one owner, the compute thread
//! ([`compute`]), which is reached by messages; so there are no locks on the way of a token.

mod backend;
mod batch;
mod compute;
mod describe;
mod device;
mod embed;
mod gauges;
mod generation;
mod handle;
mod load;
mod memory;
mod options;
mod outlet;
mod parts;
mod prompt;
mod sink;
#[cfg(test)]
mod split_tests;
mod spread;
mod stream;
mod survey;

pub use device::{DeviceChoice, Devices};
pub use embed::PendingEmbedding;
pub use generation::{CancelHandle, Generation};
pub use handle::{Engine, EngineLoad, EngineTotals};
pub use load::DevicePlan;
pub use memory::MemoryPlan;
pub use options::EngineOptions;
pub use survey::Survey;
