//! Loads tensors of a file in the form that computes.

mod embedding;
mod linear;
mod loader;

pub use embedding::Embedding;
pub use linear::{Linear, Scratch};
#[cfg(feature = "cuda")]
pub(crate) use loader::Stored;
pub use loader::Weights;
pub(crate) use loader::is_full_precision;
