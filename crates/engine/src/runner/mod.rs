//! The engine's handle, and its compute thread.
//!
//! [`Engine`] is a handle. Model, pages, scheduler and streams have one owner, the compute thread
//! ([`compute`]), which receives messages; so computing a token takes no locks.

mod backend;
mod batch;
mod compute;
mod counts;
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
mod spread;
mod stream;
mod survey;
mod vision;

pub use device::{DeviceChoice, Devices};
pub use embed::PendingEmbedding;
pub use gauges::EngineTotals;
pub use generation::{CancelHandle, Generation};
pub use handle::{Engine, EngineLoad};
pub use load::DevicePlan;
pub use memory::MemoryPlan;
pub use options::EngineOptions;
pub use survey::Survey;
pub(crate) use vision::beside as projector_beside;
