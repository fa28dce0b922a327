//! From tensors of a file to things that compute.

mod embedding;
mod linear;
mod loader;

pub use embedding::Embedding;
pub use linear::{Linear, Scratch};
#[cfg(feature = "cuda")]
pub(crate) use loader::Stored;
pub use loader::Weights;
pub(crate) use loader::is_full_precision;
