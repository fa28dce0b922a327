//! The model: one decoder for the Qwen family, without state of its own.

mod attention;
mod config;
mod decoder;
mod experts;
mod fixed;
mod metadata;
mod mlp;
mod part;
mod rope;
pub(crate) mod routing;
mod unused;
mod workspace;

pub use config::{Architecture, Experts, FeedForward, ModelConfig, Pooling};
pub use decoder::Decoder;
pub(crate) use part::Part;
pub use rope::Yarn;
#[cfg(feature = "cuda")]
pub(crate) use rope::{Angles, Rope};
pub use workspace::Workspace;

#[cfg(test)]
mod config_tests;
#[cfg(test)]
mod tests;
