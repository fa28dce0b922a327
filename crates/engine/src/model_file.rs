//! Where a model's bytes are.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::gguf::GgufFile;
use crate::safetensors::SafetensorsModel;
use crate::{Checkpoint, LoadError};

/// Where a model's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelFile {
    /// A GGUF file on disk; of a split one any part.
    Path(PathBuf),
    /// A GGUF file that is part of the binary.
    Embedded {
        /// What messages call it.
        name: &'static str,
        /// The file.
        bytes: &'static [u8],
    },
    /// A folder with `config.json`, `tokenizer.json` and the weights as safetensors.
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

/// How finely weights are kept. Written `none`, `8bit` or `4bit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantization {
    /// Not at all: f32.
    None,
    /// Q8_0.
    EightBit,
    /// Q4_K, the head Q6_K.
    FourBit,
}

impl Quantization {
    /// The GGUF file of a hub repository that comes nearest.
    pub const fn gguf_quant(self) -> &'static str {
        match self {
            Self::None => "F16",
            Self::EightBit => "Q8_0",
            Self::FourBit => "Q4_K_M",
        }
    }
}

impl fmt::Display for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::EightBit => "8bit",
            Self::FourBit => "4bit",
        })
    }
}

impl FromStr for Quantization {
    type Err = LoadError;

    fn from_str(text: &str) -> Result<Self, LoadError> {
        match text.to_ascii_lowercase().as_str() {
            "none" => Ok(Self::None),
            "8bit" => Ok(Self::EightBit),
            "4bit" => Ok(Self::FourBit),
            _ => Err(LoadError::InvalidOption(format!(
                "the quantization is {text:?}; set it to none, 8bit or 4bit"
            ))),
        }
    }
}
