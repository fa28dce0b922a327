//! The method by which a model's weights were quantized, from `quantization_config` of `config.json`.

use std::path::Path;

use serde_json::Value as Json;

use crate::LoadError;
use crate::gguf::Metadata;
use crate::safetensors::{CONFIG as FILE, Object};

/// A method whose weights are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::safetensors) enum Method {
    /// FP8 with one scale for so many outputs and inputs.
    Fp8 { block: [usize; 2] },
    /// GPTQ.
    Gptq {
        /// 4 or 8.
        bits: usize,
        /// Whether zeros are stored less one: the first of two formats.
        zeros_less_one: bool,
    },
    /// AWQ of 4 bits.
    Awq,
}

impl Method {
    /// Returns the bits of an integer.
    pub(super) fn bits(self) -> usize {
        match self {
            Self::Fp8 { .. } => 8,
            Self::Gptq { bits, .. } => bits,
            Self::Awq => 4,
        }
    }

    /// Returns the integers in a word of 32 bits.
    pub(super) fn per_word(self) -> usize {
        32 / self.bits()
    }

    /// Returns ones in the bits of the first integer.
    pub(super) fn mask(self) -> u32 {
        (1 << self.bits()) - 1
    }

    /// Returns what is added to a stored zero.
    pub(super) fn zero_offset(self) -> u32 {
        u32::from(matches!(self, Self::Gptq { zeros_less_one: true, .. }))
    }
}

/// What to use in place of weights that are not read.
const ALTERNATIVES_HINT: &str =
    "take the unquantized model, which QUANTIZATION quantizes at load, or a GGUF file of it";

/// Returns the method, or `None` if the weights are not quantized.
///
/// # Errors
/// Returns an error that names the method if its weights are not read.
pub(in crate::safetensors) fn method(
    folder: &Path,
    config: &Object,
    metadata: &Metadata,
) -> Result<Option<Method>, LoadError> {
    let refuse = |what: String| Err(metadata.unsupported(format!("{what}; {ALTERNATIVES_HINT}")));
    let said = config.get("quantization_config");
    let name = said.and_then(|said| said.get("quant_method")).and_then(Json::as_str);
    // MLX writes "quantization", and since 2025 also a copy as "quantization_config".
    let of_mlx = config.get("quantization").or(said.filter(|_| name.is_none()));
    if let Some(bits) = of_mlx.and_then(|said| said.get("bits")).and_then(Json::as_u64) {
        return refuse(format!(
            "it is a model of Apple's MLX with weights of {bits} bits (quantization of {FILE}), which MLX alone \
             reads"
        ));
    }
    let Some(said) = said else {
        // As early versions wrote it.
        for (file, name) in [("quantize_config.json", "GPTQ"), ("quant_config.json", "AWQ")] {
            if folder.join(file).exists() {
                return refuse(format!(
                    "its weights are quantized by {name} ({file} stands beside them), which is read only with \
                     quantization_config in {FILE}"
                ));
            }
        }
        return Ok(None);
    };
    let name = name.unwrap_or("unknown");
    let source = format!("quant_method {name:?} in quantization_config of {FILE}");
    let read = match name {
        "fp8" => fp8(said),
        "gptq" => gptq(said),
        "awq" => awq(said),
        _ => Err("its weights are quantized already".to_owned()),
    };
    match read {
        Ok(method) => Ok(Some(method)),
        Err(problem) if name == "unknown" => refuse(format!("{problem} ({source})")),
        Err(problem) => refuse(format!(
            "{problem} ({source}), which is not read; of quantized safetensors FP8 with weight_block_size, GPTQ of 4 \
             or 8 bits and AWQ of 4 bits are"
        )),
    }
}

fn text<'a>(said: &'a Json, key: &str) -> Option<&'a str> {
    said.get(key).and_then(Json::as_str)
}

fn fp8(said: &Json) -> Result<Method, String> {
    if let Some(scheme) = text(said, "activation_scheme").filter(|scheme| *scheme != "dynamic") {
        return Err(format!("its weights are quantized to FP8 with activation_scheme {scheme:?}"));
    }
    let block = said.get("weight_block_size").and_then(Json::as_array);
    let block = block.map(|block| block.iter().filter_map(Json::as_u64).collect::<Vec<_>>());
    match block.as_deref() {
        Some(&[outputs, inputs]) if outputs > 0 && inputs > 0 => {
            let most = 1 << 20;
            Ok(Method::Fp8 { block: [outputs.min(most) as usize, inputs.min(most) as usize] })
        }
        _ => Err("its weights are quantized to FP8 without weight_block_size".to_owned()),
    }
}

fn gptq(said: &Json) -> Result<Method, String> {
    let format = text(said, "checkpoint_format").unwrap_or("gptq");
    let zeros_less_one = match format {
        "gptq" => true,
        "gptq_v2" => false,
        _ => {
            return Err(format!(
                "its weights are quantized by GPTQ with checkpoint_format {format:?}"
            ));
        }
    };
    let dynamic = said.get("dynamic").and_then(Json::as_object);
    if dynamic.is_some_and(|dynamic| !dynamic.is_empty()) {
        return Err(
            "its weights are quantized by GPTQ with different settings by module (dynamic)"
                .to_owned(),
        );
    }
    match said.get("bits").and_then(Json::as_u64) {
        Some(bits @ (4 | 8)) => Ok(Method::Gptq { bits: bits as usize, zeros_less_one }),
        Some(bits) => Err(format!("its weights are quantized by GPTQ to {bits} bits")),
        None => Err("its weights are quantized by GPTQ to an unknown number of bits".to_owned()),
    }
}

fn awq(said: &Json) -> Result<Method, String> {
    let version = text(said, "version").unwrap_or("gemm");
    if !version.eq_ignore_ascii_case("gemm") {
        return Err(format!("its weights are quantized by AWQ with version {version:?}"));
    }
    if said.get("zero_point").and_then(Json::as_bool) == Some(false) {
        return Err("its weights are quantized by AWQ without zero_point".to_owned());
    }
    match said.get("bits").or(said.get("w_bit")).and_then(Json::as_u64) {
        Some(4) => Ok(Method::Awq),
        Some(bits) => Err(format!("its weights are quantized by AWQ to {bits} bits")),
        None => Err("its weights are quantized by AWQ to an unknown number of bits".to_owned()),
    }
}
