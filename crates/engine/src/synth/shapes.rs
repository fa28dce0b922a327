//! The shapes of published models, and a tiny one for tests.

use std::str::FromStr;

use super::UnknownName;
use crate::model::Architecture;

/// The shape of a published model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SynthShape {
    /// How users call it, e.g. `qwen3-0.6b`.
    pub name: &'static str,
    pub(super) architecture: Architecture,
    pub(super) layers: usize,
    pub(super) hidden: usize,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
    pub(super) ffn: usize,
    pub(super) vocab: usize,
    pub(super) context_length: usize,
    /// Whether the head is the embedding.
    pub(super) tied: bool,
}

const QWEN3: SynthShape = SynthShape {
    name: "",
    architecture: Architecture::Qwen3,
    layers: 28,
    hidden: 1024,
    heads: 16,
    kv_heads: 8,
    head_dim: 128,
    ffn: 3072,
    vocab: 151_936,
    context_length: 40_960,
    tied: true,
};

const QWEN2: SynthShape =
    SynthShape { architecture: Architecture::Qwen2, kv_heads: 2, context_length: 32_768, ..QWEN3 };

/// From the `config.json` of each model on the Hugging Face hub, but for the first.
const SHAPES: [SynthShape; 11] = [
    // Not a published one: quick to write, yet slow enough to be caught in the middle of an answer.
    SynthShape {
        name: "tiny",
        layers: 12,
        hidden: 512,
        heads: 8,
        kv_heads: 4,
        head_dim: 64,
        ffn: 1536,
        vocab: 4096,
        context_length: 4096,
        ..QWEN3
    },
    SynthShape { name: "qwen3-0.6b", ..QWEN3 },
    SynthShape { name: "qwen3-1.7b", hidden: 2048, ffn: 6144, ..QWEN3 },
    SynthShape { name: "qwen3-4b", layers: 36, hidden: 2560, heads: 32, ffn: 9728, ..QWEN3 },
    SynthShape {
        name: "qwen3-8b",
        layers: 36,
        hidden: 4096,
        heads: 32,
        ffn: 12_288,
        tied: false,
        ..QWEN3
    },
    SynthShape {
        name: "qwen3-14b",
        layers: 40,
        hidden: 5120,
        heads: 40,
        ffn: 17_408,
        tied: false,
        ..QWEN3
    },
    SynthShape {
        name: "qwen2.5-0.5b",
        layers: 24,
        hidden: 896,
        heads: 14,
        head_dim: 64,
        ffn: 4864,
        ..QWEN2
    },
    SynthShape { name: "qwen2.5-1.5b", hidden: 1536, heads: 12, ffn: 8960, ..QWEN2 },
    SynthShape { name: "qwen2.5-3b", layers: 36, hidden: 2048, ffn: 11_008, ..QWEN2 },
    SynthShape {
        name: "qwen2.5-7b",
        hidden: 3584,
        heads: 28,
        kv_heads: 4,
        ffn: 18_944,
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
        ffn: 13_824,
        vocab: 152_064,
        tied: false,
        ..QWEN2
    },
];

impl SynthShape {
    /// The names of all shapes.
    pub fn names() -> [&'static str; SHAPES.len()] {
        SHAPES.map(|shape| shape.name)
    }
}

#[cfg(test)]
impl SynthShape {
    /// Small enough for a test.
    pub(super) fn small() -> Self {
        Self { name: "small", layers: 2, hidden: 256, heads: 4, kv_heads: 2, ffn: 512, ..QWEN3 }
    }

    /// The same with a vocabulary and a context that make it small enough to be run many times.
    pub(crate) fn smallest() -> Self {
        let (head_dim, ffn, vocab, context_length) = (64, 256, 600, 2048);
        Self { name: "smallest", head_dim, ffn, vocab, context_length, ..Self::small() }
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
