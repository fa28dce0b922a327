//! Chooses the format of each tensor.

use std::str::FromStr;

use candle_core::quantized::GgmlDType;

use super::UnknownName;

/// A quantization of a whole model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SynthQuant {
    /// llama.cpp's mixture: Q4_K, with Q6_K for the head and for half of `attn_v` and `ffn_down`, and Q5_K for `attn_qkv`.
    Q4KM,
    /// Q8_0 throughout.
    Q8_0,
    /// F16 throughout.
    F16,
    /// F32 throughout.
    F32,
}

/// The role of a matrix, on which its format depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The head, or the embedding in a tied model.
    Head,
    /// `attn_v` or `ffn_down`, with the layer's index and the number of layers.
    Sensitive(usize, usize),
    /// The fused projection of queries, keys and values.
    Fused,
    /// The router of experts and the kernel of convolutions: kept in f32, as in llama.cpp.
    Exact,
    /// All others.
    Plain,
}

impl SynthQuant {
    const ALL: [(&'static str, Self); 4] =
        [("q4_k_m", Self::Q4KM), ("q8_0", Self::Q8_0), ("f16", Self::F16), ("f32", Self::F32)];

    /// Returns its name, e.g. `q4_k_m`.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, quant)| *quant == self).map_or("", |(name, _)| name)
    }

    /// Returns `general.file_type`; source: `enum llama_ftype` in llama.h.
    pub(super) fn file_type(self) -> i128 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q8_0 => 7,
            Self::Q4KM => 15,
        }
    }

    /// Returns the format of a matrix whose rows have `columns` numbers, as llama.cpp's quantizer
    /// chooses it.
    pub(super) fn dtype(self, role: Role, columns: usize) -> GgmlDType {
        let wanted = match self {
            _ if role == Role::Exact => GgmlDType::F32,
            Self::F32 => GgmlDType::F32,
            Self::F16 => GgmlDType::F16,
            Self::Q8_0 => GgmlDType::Q8_0,
            Self::Q4KM => match role {
                Role::Head => GgmlDType::Q6K,
                Role::Sensitive(layer, layers) if uses_more_bits(layer, layers) => GgmlDType::Q6K,
                Role::Fused => GgmlDType::Q5K,
                Role::Sensitive(..) | Role::Exact | Role::Plain => GgmlDType::Q4K,
            },
        };
        if columns.is_multiple_of(wanted.block_size()) {
            return wanted;
        }
        // Rows whose length is not a multiple of 256 get the next larger format with blocks of 32.
        match wanted {
            GgmlDType::Q4K => GgmlDType::Q5_0,
            GgmlDType::Q6K => GgmlDType::Q8_0,
            other => other,
        }
    }
}

/// Whether llama.cpp gives a layer's sensitive matrices the larger format: the first and last
/// eighth of the layers, and every third between (`use_more_bits` in llama-quant.cpp).
fn uses_more_bits(layer: usize, layers: usize) -> bool {
    let eighth = layers / 8;
    layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
}

impl FromStr for SynthQuant {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let lower = name.to_lowercase();
        let found = Self::ALL.into_iter().find(|(known, _)| *known == lower);
        found.map(|(_, quant)| quant).ok_or_else(|| UnknownName {
            what: "quantization",
            name: name.to_owned(),
            known: Self::ALL.map(|(name, _)| name).join(", "),
        })
    }
}
