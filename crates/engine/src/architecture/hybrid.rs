//! The hybrid architectures: Qwen3-Next and Qwen3.5, whose successors 3.6 and 3.8 are of the same kind.

use super::config::{Architecture, ExpertRule};
use super::delta::{DeltaRule, HeadOrder};
use super::mrope::MropeOrder;

impl Architecture {
    /// Qwen3-Next: most layers have a recurrent state, and all have experts with a shared one.
    pub const QWEN3_NEXT: Self = Self {
        name: "qwen3next",
        model_types: &["qwen3_next"],
        experts: Some(ExpertRule { shared: true, normalized: true }),
        delta: Some(DeltaRule { fused_gates: true, gguf_order: HeadOrder::Grouped }),
        ..Self::QWEN3
    };

    /// Qwen3.5, 3.6 and 3.8, dense.
    pub const QWEN35: Self = Self {
        name: "qwen35",
        model_types: &["qwen3_5", "qwen3_5_text"],
        mrope: Some(MropeOrder::Interleaved),
        delta: Some(DeltaRule { fused_gates: false, gguf_order: HeadOrder::Tiled }),
        ..Self::QWEN3
    };

    /// Qwen3.5, 3.6 and 3.8 with experts.
    pub const QWEN35_MOE: Self = Self {
        name: "qwen35moe",
        model_types: &["qwen3_5_moe", "qwen3_5_moe_text"],
        experts: Self::QWEN3_NEXT.experts,
        ..Self::QWEN35
    };
}
