//! Describes a model before its weights are read: the architecture, sizes, rotary embedding, and the part
//! of the layers that one device computes. Devices and file formats use these descriptions; nothing here
//! computes on tensors.

mod config;
mod fixed;
mod metadata;
mod mrope;
mod part;
mod read;
mod rope;

pub use config::{Architecture, Experts, FeedForward, ModelConfig, Pooling};
pub use mrope::{Mrope, MropeOrder};
pub(crate) use part::Part;
pub use rope::Yarn;
pub(crate) use rope::{Angles, Rope};

#[cfg(test)]
mod config_tests;
