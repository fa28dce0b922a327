//! Errors of loading a model.

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

/// The reason why a model could not be loaded. Variants differ in what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file does not exist, or cannot be read.
    #[error("cannot read the model file {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error, which the message has.
        error: std::io::Error,
    },
    /// The file is damaged or of another format: download or convert it again.
    #[error("the model file {file} is damaged: {problem}; download or convert it again")]
    Damaged {
        /// The file.
        file: String,
        /// The damage.
        problem: Damage,
    },
    /// The file is valid, but not supported by this engine: choose another.
    #[error("the model file {file} cannot be used: {problem}")]
    Unsupported {
        /// The file.
        file: String,
        /// The unsupported value, and the supported ones.
        problem: String,
    },
    /// An adapter cannot be used with the model: choose another, or none.
    #[error("the adapter {name} in {} cannot be used: {problem}", folder.display())]
    Adapter {
        /// Its name in requests.
        name: String,
        /// Its folder.
        folder: PathBuf,
        /// The reason.
        problem: Box<AdapterError>,
    },
    /// An option is out of range.
    #[error("{0}")]
    InvalidOption(String),
    /// The model and its working memory do not fit into memory.
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    /// The device does not exist, or this build cannot use it.
    #[error("{0}")]
    Device(String),
    /// The tensor library failed: a bug of this engine, or a damaged file.
    #[error("loading {file} failed: {problem}")]
    Compute {
        /// The file.
        file: String,
        /// The library's error.
        problem: String,
    },
}

/// The damage of a model's files.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// Of a GGUF file, or of metadata in its form.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// Of a folder of safetensors files.
    #[error(transparent)]
    Safetensors(#[from] SafetensorsError),
}
