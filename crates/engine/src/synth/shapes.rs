//! Shapes of published models, and tiny ones for tests.

use std::str::FromStr;

use super::UnknownName;
use crate::model::{Architecture, Experts, FeedForward};

/// The shape of a published model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SynthShape {
    /// Its name, e.g. `qwen3-0.6b`.
    pub name: &'static str,
    pub(super) architecture: Architecture,
    pub(super) layers: usize,
    pub(super) hidden: usize,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
    pub(super) feed_forward: FeedForward,
    pub(super) vocab: usize,
    pub(super) context_length: usize,
    /// Whether the embedding is used as the head.
    pub(super) tied: bool,
    /// Layers that add rows of DeepStack.
    pub(super) deepstack: usize,
    /// The layers with a recurrent state.
    pub(super) delta: Option<DeltaShape>,
}

/// The heads of recurrent layers, of [`DELTA_DIM`] numbers each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct DeltaShape {
    pub(super) key_heads: usize,
    pub(super) value_heads: usize,
}

/// Numbers of a head of a recurrent layer, in all published models.
pub(super) const DELTA_DIM: usize = 128;

const QWEN3: SynthShape = SynthShape {
    name: "",
    architecture: Architecture::QWEN3,
    layers: 28,
    hidden: 1024,
    heads: 16,
    kv_heads: 8,
    head_dim: 128,
    feed_forward: dense(3072),
    vocab: 151_936,
    context_length: 40_960,
    tied: true,
    deepstack: 0,
    delta: None,
};

/// The shape of Qwen3.5-0.8B, without its tower.
const QWEN35: SynthShape = SynthShape {
    architecture: Architecture::QWEN35,
    layers: 24,
    heads: 8,
    kv_heads: 2,
    head_dim: 256,
    feed_forward: dense(3584),
    vocab: 248_320,
    context_length: 262_144,
    delta: Some(DeltaShape { key_heads: 16, value_heads: 16 }),
    ..QWEN3
};

const QWEN2: SynthShape =
    SynthShape { architecture: Architecture::QWEN2, kv_heads: 2, context_length: 32_768, ..QWEN3 };

/// The shape of Qwen3-30B-A3B.
const QWEN3_MOE: SynthShape = SynthShape {
    architecture: Architecture::QWEN3_MOE,
    layers: 48,
    hidden: 2048,
    heads: 32,
    kv_heads: 4,
    feed_forward: experts(128, 8, 768, None),
    tied: false,
    ..QWEN3
};

const fn dense(ffn: usize) -> FeedForward {
    FeedForward::Dense { ffn }
}

/// In Qwen's models, the weights of the chosen experts sum to 1 if there is no shared expert.
const fn experts(count: usize, used: usize, ffn: usize, shared_ffn: Option<usize>) -> FeedForward {
    FeedForward::Experts(Experts { count, used, ffn, shared_ffn, normalized: shared_ffn.is_none() })
}

/// The shapes. Unless noted, they are from the `config.json` of each model on the Hugging Face hub.
const SHAPES: [SynthShape; 19] = [
    // Not a published model: quick to write, and slow enough that tests can interrupt an answer.
    SynthShape {
        name: "tiny",
        layers: 12,
        hidden: 512,
        heads: 8,
        kv_heads: 4,
        head_dim: 64,
        feed_forward: dense(1536),
        vocab: 4096,
        context_length: 4096,
        ..QWEN3
    },
    SynthShape { name: "qwen3-0.6b", ..QWEN3 },
    SynthShape { name: "qwen3-1.7b", hidden: 2048, feed_forward: dense(6144), ..QWEN3 },
    SynthShape {
        name: "qwen3-4b",
        layers: 36,
        hidden: 2560,
        heads: 32,
        feed_forward: dense(9728),
        ..QWEN3
    },
    SynthShape {
        name: "qwen3-8b",
        layers: 36,
        hidden: 4096,
        heads: 32,
        feed_forward: dense(12_288),
        tied: false,
        ..QWEN3
    },
    SynthShape {
        name: "qwen3-14b",
        layers: 40,
        hidden: 5120,
        heads: 40,
        feed_forward: dense(17_408),
        tied: false,
        ..QWEN3
    },
    SynthShape {
        name: "qwen3-vl-2b",
        architecture: Architecture::QWEN3_VL,
        hidden: 2048,
        feed_forward: dense(6144),
        deepstack: 3,
        ..QWEN3
    },
    // Not a published model: takes the rows of the tower of Qwen3.5-0.8B.
    SynthShape { name: "qwen3-vl-0.6b", architecture: Architecture::QWEN3_VL, ..QWEN3 },
    SynthShape { name: "qwen3.5-0.8b", ..QWEN35 },
    SynthShape {
        name: "qwen3.5-4b",
        layers: 32,
        hidden: 2560,
        heads: 16,
        kv_heads: 4,
        feed_forward: dense(9216),
        delta: Some(DeltaShape { key_heads: 16, value_heads: 32 }),
        ..QWEN35
    },
    SynthShape {
        name: "qwen2.5-0.5b",
        layers: 24,
        hidden: 896,
        heads: 14,
        head_dim: 64,
        feed_forward: dense(4864),
        ..QWEN2
    },
    SynthShape {
        name: "qwen2.5-1.5b",
        hidden: 1536,
        heads: 12,
        feed_forward: dense(8960),
        ..QWEN2
    },
    SynthShape {
        name: "qwen2.5-3b",
        layers: 36,
        hidden: 2048,
        feed_forward: dense(11_008),
        ..QWEN2
    },
    SynthShape {
        name: "qwen2.5-7b",
        hidden: 3584,
        heads: 28,
        kv_heads: 4,
        feed_forward: dense(18_944),
        vocab: 152_064,
        tied: false,
        ..QWEN2
    },
    SynthShape {
        name: "qwen2.5-14b",
        layers: 48,
        hidden: 5120,
        heads: 40,
        kv_heads: 8,
        feed_forward: dense(13_824),
        vocab: 152_064,
        tied: false,
        ..QWEN2
    },
    // Not a published model: one with experts that is quick to write.
    SynthShape {
        name: "tiny-moe",
        layers: 6,
        hidden: 512,
        heads: 8,
        head_dim: 64,
        feed_forward: experts(16, 4, 256, None),
        vocab: 4096,
        context_length: 4096,
        ..QWEN3_MOE
    },
    SynthShape { name: "qwen3-30b-a3b", ..QWEN3_MOE },
    // A quarter of the layers, for machines with too little memory for the whole.
    SynthShape { name: "qwen3-30b-a3b-12l", layers: 12, ..QWEN3_MOE },
    SynthShape {
        name: "qwen1.5-moe-a2.7b",
        architecture: Architecture::QWEN2_MOE,
        layers: 24,
        hidden: 2048,
        kv_heads: 16,
        feed_forward: experts(60, 4, 1408, Some(5632)),
        context_length: 8192,
        tied: false,
        ..QWEN2
    },
];

impl SynthShape {
    /// The names of all shapes.
    pub fn names() -> [&'static str; SHAPES.len()] {
        SHAPES.map(|shape| shape.name)
    }

    /// The width of a row, which is that of the rows of images.
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// The same with a context of so many tokens.
    pub fn with_context(self, context_length: usize) -> Self {
        Self { context_length, ..self }
    }
}

#[cfg(test)]
impl SynthShape {
    /// A shape small enough for tests.
    pub(super) fn small() -> Self {
        Self {
            name: "small",
            layers: 2,
            hidden: 256,
            heads: 4,
            kv_heads: 2,
            feed_forward: dense(512),
            ..QWEN3
        }
    }

    /// As [`small`](Self::small), with experts, one of them shared.
    pub(super) fn small_experts() -> Self {
        let architecture = Architecture::QWEN2_MOE;
        Self { architecture, feed_forward: experts(4, 2, 256, Some(256)), ..Self::small() }
    }

    /// As [`small`](Self::small), with three layers of four that have a recurrent state.
    pub(super) fn small_hybrid() -> Self {
        let delta = Some(DeltaShape { key_heads: 2, value_heads: 4 });
        let Self { architecture, head_dim, .. } = QWEN35;
        Self { architecture, layers: 4, head_dim, delta, ..Self::small() }
    }

    /// As [`small`](Self::small), with a vocabulary and a context so small that it can be run many
    /// times.
    pub(crate) fn smallest() -> Self {
        let (head_dim, vocab, context_length) = (64, 600, 2048);
        let feed_forward = dense(256);
        Self { name: "smallest", head_dim, feed_forward, vocab, context_length, ..Self::small() }
    }

    /// As [`smallest`](Self::smallest), with experts, one of them shared.
    pub(crate) fn smallest_experts() -> Self {
        let Self { architecture, feed_forward, .. } = Self::small_experts();
        Self { name: "smallest-experts", architecture, feed_forward, ..Self::smallest() }
    }

    /// The same shape with `layers` layers.
    pub(crate) fn with_layers(self, layers: usize) -> Self {
        Self { layers, ..self }
    }
}

impl FromStr for SynthShape {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        SHAPES.into_iter().find(|shape| shape.name == name).ok_or_else(|| UnknownName {
            what: "shape",
            name: name.to_owned(),
            known: Self::names().join(", "),
        })
    }
}
