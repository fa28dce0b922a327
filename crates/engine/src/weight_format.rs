//! The formats of weights in memory and in GGUF files.

use std::fmt;

use candle_core::quantized::GgmlDType;

/// The format of a tensor's weights. The variants without a value are formats that candle does not know: the engine
/// reads and multiplies them itself. Source: `ggml-common.h` in the ggml repository.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum WeightFormat {
    /// A format that candle knows.
    Candle(GgmlDType),
    /// 4 bits, each the index of one of sixteen values, with a scale for every 32 numbers.
    Iq4Nl,
    /// The same values, with a scale of 6 bits for every 32 numbers.
    Iq4Xs,
    /// 4-bit floats with a power of two as the scale of every 32 numbers.
    Mxfp4,
    /// Four numbers are a row of a grid of 256.
    Iq3Xxs,
    /// Four numbers are a row of a grid of 512.
    Iq3S,
    /// Eight numbers are a row of a grid of 256.
    Iq2Xxs,
    /// Eight numbers are a row of a grid of 512.
    Iq2Xs,
    /// Eight numbers are a row of a grid of 1024.
    Iq2S,
    /// Eight numbers are a row of a grid of 2048, of -1, 0 and 1.
    Iq1S,
    /// The same grid with a scale for every 16 numbers.
    Iq1M,
}

impl WeightFormat {
    /// Returns candle's name of the format, or `None` if candle does not know it.
    pub fn candle(self) -> Option<GgmlDType> {
        match self {
            Self::Candle(dtype) => Some(dtype),
            _ => None,
        }
    }

    /// Returns the numbers of a block.
    pub fn block_size(self) -> usize {
        match self {
            Self::Candle(dtype) => dtype.block_size(),
            Self::Iq4Nl | Self::Mxfp4 => 32,
            _ => 256,
        }
    }

    /// Returns the bytes of a block.
    pub fn type_size(self) -> usize {
        match self {
            Self::Candle(dtype) => dtype.type_size(),
            Self::Iq4Nl => 18,
            Self::Iq4Xs => 136,
            Self::Mxfp4 => 17,
            Self::Iq3Xxs => 98,
            Self::Iq3S => 110,
            Self::Iq2Xxs => 66,
            Self::Iq2Xs => 74,
            Self::Iq2S => 82,
            Self::Iq1S => 50,
            Self::Iq1M => 56,
        }
    }
}

impl From<GgmlDType> for WeightFormat {
    fn from(dtype: GgmlDType) -> Self {
        Self::Candle(dtype)
    }
}

impl PartialEq<GgmlDType> for WeightFormat {
    fn eq(&self, dtype: &GgmlDType) -> bool {
        self.candle() == Some(*dtype)
    }
}

impl fmt::Debug for WeightFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Candle(dtype) => return dtype.fmt(f),
            Self::Iq4Nl => "IQ4_NL",
            Self::Iq4Xs => "IQ4_XS",
            Self::Mxfp4 => "MXFP4",
            Self::Iq3Xxs => "IQ3_XXS",
            Self::Iq3S => "IQ3_S",
            Self::Iq2Xxs => "IQ2_XXS",
            Self::Iq2Xs => "IQ2_XS",
            Self::Iq2S => "IQ2_S",
            Self::Iq1S => "IQ1_S",
            Self::Iq1M => "IQ1_M",
        })
    }
}
