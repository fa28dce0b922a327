//! # engine: what computes (being written)
pub mod api;
mod error;
pub mod gguf;
mod kernels;

pub use api::*;
pub use error::LoadError;
