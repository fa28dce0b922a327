//! From tensors of a file to things that compute.

mod linear;
mod loader;

pub use linear::Linear;
pub use loader::Weights;
pub(crate) use loader::is_full_precision;
