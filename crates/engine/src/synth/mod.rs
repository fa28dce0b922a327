//! Models of true size and random weights: for benchmarks, where only shapes and formats count.
//!
//! A vocabulary of the right size, the chat template and every key that a loader reads are there,
//! so that such a file goes the way of a real one.

mod metadata;
mod quant;
mod shapes;
mod write;

pub use quant::SynthQuant;
pub use shapes::SynthShape;
pub use write::{SynthOptions, synthesize};

/// A name that is not in the list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {name:?} is unknown; known are {known}")]
pub struct UnknownName {
    /// `shape` or `quantization`.
    pub what: &'static str,
    /// What was asked for.
    pub name: String,
    /// What there is.
    pub known: String,
}
