//! Where a model's bytes are.

use std::path::PathBuf;

use crate::LoadError;
use crate::gguf::GgufFile;

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
}

impl ModelFile {
    /// Opens the file and checks its header.
    pub fn open(&self) -> Result<GgufFile, LoadError> {
        match self {
            Self::Path(path) => GgufFile::open(path),
            Self::Embedded { name, bytes } => GgufFile::from_static(bytes, name),
        }
    }
}
