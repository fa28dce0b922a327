//! Why a model could not be loaded.

mod adapter;
#[cfg(feature = "cuda")]
mod device;
mod gguf;
mod safetensors;

use std::path::PathBuf;

pub use adapter::AdapterError;
#[cfg(feature = "cuda")]
pub(crate) use device::{is_lost, load_error};
pub use gguf::GgufError;
pub use safetensors::SafetensorsError;

/// Why a model could not be loaded. The variants are what a caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is not there, or may not be read.
    #[error("cannot read the model file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is damaged, or none of its format at all: get it again.
    #[error("the model file {file} is damaged: {problem}; download or convert it again")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: Damage,
    },
    /// The file is sound, but this engine cannot run it: choose another.
    #[error("the model file {file} cannot be used: {problem}")]
    Unsupported {
        /// The file.
        file: String,
        /// What is not supported, and what is.
        problem: String,
    },
    /// An adapter cannot be loaded beside the model: name another, or none.
    #[error("the adapter {name} in {} cannot be used: {problem}", folder.display())]
    Adapter {
        /// How requests would call it.
        name: String,
        /// Its folder.
        folder: PathBuf,
        /// What is wrong with it.
        problem: Box<AdapterError>,
    },
    /// An option is out of range.
    #[error("{0}")]
    InvalidOption(String),
    /// The model and its working memory do not fit.
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    /// The device is not there, or this build cannot use it.
    #[error("{0}")]
    Device(String),
    /// The computing library refused; a bug of ours or of the file.
    #[error("loading {file} failed: {problem}")]
    Compute {
        /// The file.
        file: String,
        /// What the library said.
        problem: String,
    },
}

/// What is wrong with a model's files.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// With a GGUF file, or with what takes the place of its metadata.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// With a folder of safetensors.
    #[error(transparent)]
    Safetensors(#[from] SafetensorsError),
}
