//! The formats of weights.

use candle_core::quantized::GgmlDType;

use crate::weight_format::WeightFormat;

/// The names of weight formats by their number in the file.
/// Source: `enum ggml_type` in ggml.h.
const NAMES: &[(u32, &str)] = &[
    (0, "F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (6, "Q5_0"),
    (7, "Q5_1"),
    (8, "Q8_0"),
    (9, "Q8_1"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (12, "Q4_K"),
    (13, "Q5_K"),
    (14, "Q6_K"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (30, "BF16"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
];

/// The supported formats. Q8_1 and Q8_K are excluded: they are formats for activations and never occur in
/// files.
const SUPPORTED: &[(u32, WeightFormat)] = &[
    (0, WeightFormat::Candle(GgmlDType::F32)),
    (1, WeightFormat::Candle(GgmlDType::F16)),
    (30, WeightFormat::Candle(GgmlDType::BF16)),
    (2, WeightFormat::Candle(GgmlDType::Q4_0)),
    (3, WeightFormat::Candle(GgmlDType::Q4_1)),
    (6, WeightFormat::Candle(GgmlDType::Q5_0)),
    (7, WeightFormat::Candle(GgmlDType::Q5_1)),
    (8, WeightFormat::Candle(GgmlDType::Q8_0)),
    (10, WeightFormat::Candle(GgmlDType::Q2K)),
    (11, WeightFormat::Candle(GgmlDType::Q3K)),
    (12, WeightFormat::Candle(GgmlDType::Q4K)),
    (13, WeightFormat::Candle(GgmlDType::Q5K)),
    (14, WeightFormat::Candle(GgmlDType::Q6K)),
    (20, WeightFormat::Iq4Nl),
    (23, WeightFormat::Iq4Xs),
    (39, WeightFormat::Mxfp4),
    (18, WeightFormat::Iq3Xxs),
    (21, WeightFormat::Iq3S),
    (16, WeightFormat::Iq2Xxs),
    (17, WeightFormat::Iq2Xs),
    (22, WeightFormat::Iq2S),
    (19, WeightFormat::Iq1S),
    (29, WeightFormat::Iq1M),
];

/// Returns the name of a format, or its number if it is unknown.
pub fn name_of_id(id: u32) -> String {
    NAMES
        .iter()
        .find(|(known, _)| *known == id)
        .map_or_else(|| format!("number {id}"), |(_, name)| (*name).to_owned())
}

/// Returns the name of a supported format, e.g. `Q4_K`.
pub fn name_of(format: impl Into<WeightFormat>) -> String {
    let format = format.into();
    SUPPORTED
        .iter()
        .find(|(_, known)| *known == format)
        .map_or_else(|| format!("{format:?}"), |(id, _)| name_of_id(*id))
}

/// Returns the format with this number, if it is supported.
pub fn from_id(id: u32) -> Option<WeightFormat> {
    SUPPORTED.iter().find(|(known, _)| *known == id).map(|(_, format)| *format)
}

/// Returns the number of a format in files.
pub fn id_of(format: WeightFormat) -> Option<u32> {
    SUPPORTED.iter().find(|(_, known)| *known == format).map(|(id, _)| *id)
}

/// Returns the names of all supported formats, for messages.
pub fn supported_names() -> String {
    SUPPORTED.iter().map(|(id, _)| name_of_id(*id)).collect::<Vec<_>>().join(", ")
}
