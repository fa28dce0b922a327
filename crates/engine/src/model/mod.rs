//! The model: one decoder for the Qwen family, without state of its own.

mod attention;
mod config;
mod decoder;
mod mlp;
mod rope;
mod workspace;

pub use config::{Architecture, ModelConfig};
pub use decoder::Decoder;
pub use workspace::Workspace;

#[cfg(test)]
mod tests;
