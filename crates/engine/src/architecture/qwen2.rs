//! Qwen2 and the architectures that are derived from it.

use super::config::{Architecture, ExpertRule};
use super::mrope::MropeOrder;

impl Architecture {
    /// Qwen2 and Qwen2.5.
    pub const QWEN2: Self = Self {
        name: "qwen2",
        model_types: &["qwen2"],
        attention_bias: true,
        head_norms: false,
        experts: None,
        mrope: None,
        deepstack: false,
        delta: None,
    };

    /// Qwen1.5-MoE and Qwen2-MoE: with experts, one of them shared by all tokens.
    pub const QWEN2_MOE: Self = Self {
        name: "qwen2moe",
        model_types: &["qwen2_moe"],
        experts: Some(ExpertRule { shared: true, normalized: false }),
        ..Self::QWEN2
    };

    /// The text model of Qwen2-VL and Qwen2.5-VL.
    pub const QWEN2_VL: Self = Self {
        name: "qwen2vl",
        model_types: &["qwen2_vl", "qwen2_5_vl"],
        mrope: Some(MropeOrder::Contiguous),
        ..Self::QWEN2
    };
}
