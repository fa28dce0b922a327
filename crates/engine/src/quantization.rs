//! The quantization of weights when they are loaded.

use std::fmt;
use std::str::FromStr;

use crate::error::LoadError;

/// The precision that weights are loaded in. Written `none`, `8bit` or `4bit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantization {
    /// Not quantized: f32.
    None,
    /// Q8_0.
    EightBit,
    /// Q4_K; the head Q6_K.
    FourBit,
}

impl Quantization {
    /// Returns the quantization of the closest GGUF file in a hub repository, as in its file name.
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
