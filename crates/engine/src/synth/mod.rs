//! Writes models with published shapes and random weights, for benchmarks in which only shapes and
//! formats matter.
//!
//! A file has a vocabulary of the right size, a chat template and every key that a loader reads, so
//! it is loaded like a real one.

mod metadata;
mod projector;
mod quant;
mod shapes;
mod tensors;
mod write;

pub use projector::synthesize_projector;
pub use quant::SynthQuant;
pub use shapes::SynthShape;
pub use write::{SynthOptions, synthesize, synthesize_with_draft};

/// An unknown name of a shape or quantization.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {name:?} is unknown; known are {known}")]
pub struct UnknownName {
    /// `shape` or `quantization`.
    pub what: &'static str,
    /// The given name.
    pub name: String,
    /// The known names.
    pub known: String,
}
