//! Qwen3 and the architectures that are derived from it.

use super::config::{Architecture, ExpertRule};
use super::mrope::MropeOrder;

impl Architecture {
    /// Qwen3 and Qwen3-Embedding.
    pub const QWEN3: Self = Self {
        name: "qwen3",
        model_types: &["qwen3"],
        attention_bias: false,
        head_norms: true,
        experts: None,
        mrope: None,
        deepstack: false,
        delta: None,
    };

    /// Qwen3-MoE: with experts.
    pub const QWEN3_MOE: Self = Self {
        name: "qwen3moe",
        model_types: &["qwen3_moe"],
        experts: Some(ExpertRule { shared: false, normalized: true }),
        ..Self::QWEN3
    };

    /// The text model of Qwen3-VL.
    pub const QWEN3_VL: Self = Self {
        name: "qwen3vl",
        model_types: &["qwen3_vl"],
        mrope: Some(MropeOrder::Interleaved),
        deepstack: true,
        ..Self::QWEN3
    };

    /// The text model of Qwen3-VL with experts.
    pub const QWEN3_VL_MOE: Self = Self {
        name: "qwen3vlmoe",
        model_types: &["qwen3_vl_moe"],
        experts: Self::QWEN3_MOE.experts,
        ..Self::QWEN3_VL
    };
}
