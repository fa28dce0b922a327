//! The model: one decoder for the Qwen family, without state of its own.

mod attention;
mod config;
mod decoder;
mod mlp;
mod ops;
mod rope;

pub use config::{Architecture, ModelConfig};
pub use decoder::Decoder;
