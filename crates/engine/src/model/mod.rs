//! The model: a stateless decoder for the Qwen family.

mod attention;
mod decoder;
mod delta;
mod experts;
mod gated_mlp;
mod mlp;
pub(crate) mod routing;
mod unused;
mod workspace;

pub use decoder::Decoder;
pub use workspace::Workspace;

pub use crate::architecture::{Architecture, Experts, FeedForward, ModelConfig, Pooling, Yarn};

#[cfg(test)]
mod tests;
