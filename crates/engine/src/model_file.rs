//! Where a model's bytes are.

use std::path::PathBuf;

use crate::gguf::GgufFile;
use crate::quantization::Quantization;
use crate::safetensors::SafetensorsModel;
use crate::{Checkpoint, LoadError};

/// Where a model's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelFile {
    /// A GGUF file on disk; it is mapped.
    Path(PathBuf),
    /// A GGUF file that is part of the binary.
    Embedded {
        /// What messages call it.
        name: &'static str,
        /// The file.
        bytes: &'static [u8],
    },
    /// A folder with `config.json`, `tokenizer.json` and the weights as safetensors; they are mapped.
    Safetensors {
        /// The folder.
        folder: PathBuf,
        /// What is made of the weights.
        quantization: Quantization,
    },
}

impl ModelFile {
    /// Opens the files and checks what stands before the weights.
    ///
    /// # Errors
    /// When a file is missing, unreadable or damaged, or holds what this engine cannot compute.
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
