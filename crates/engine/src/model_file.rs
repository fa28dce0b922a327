//! The location of a model's bytes.

use std::path::PathBuf;

use crate::gguf::GgufFile;
use crate::quantization::Quantization;
use crate::safetensors::SafetensorsModel;
use crate::{Checkpoint, LoadError};

/// The location of a model's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelFile {
    /// A GGUF file on disk; any part of a split one.
    Path(PathBuf),
    /// A GGUF file that is part of the binary.
    Embedded {
        /// Its name for messages.
        name: &'static str,
        /// The file's contents.
        bytes: &'static [u8],
    },
    /// A folder with `config.json`, `tokenizer.json` and the weights as safetensors files.
    Safetensors {
        /// The folder.
        folder: PathBuf,
        /// The format that the weights are loaded into.
        quantization: Quantization,
    },
}

impl ModelFile {
    /// Opens the files and checks their headers. The weights are not read.
    ///
    /// # Errors
    /// If a file is missing, unreadable or damaged, or has something that this engine does not support.
    pub fn open(&self) -> Result<Checkpoint, LoadError> {
        match self {
            Self::Path(path) => GgufFile::open(path).map(Checkpoint::Gguf),
            Self::Embedded { name, bytes } => {
                GgufFile::from_static(bytes, name).map(Checkpoint::Gguf)
            }
            Self::Safetensors { folder, quantization } => {
                SafetensorsModel::open(folder, *quantization).map(Checkpoint::Safetensors)
            }
        }
    }
}
