//! A model's architecture and sizes.

use super::mrope::{Mrope, MropeOrder};
use super::rope::Yarn;
use crate::layout::{KvShape, KvType};

/// The architecture of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Qwen2 and Qwen2.5: queries, keys and values have a bias.
    Qwen2,
    /// Qwen1.5-MoE and Qwen2-MoE: Qwen2 with experts, one of them shared by all tokens.
    Qwen2Moe,
    /// Qwen3 and Qwen3-Embedding: queries and keys are normalised per head.
    Qwen3,
    /// Qwen3-MoE: Qwen3 with experts.
    Qwen3Moe,
    /// The text model of Qwen2-VL and Qwen2.5-VL: Qwen2 with M-RoPE.
    Qwen2Vl,
    /// The text model of Qwen3-VL: Qwen3 with M-RoPE.
    Qwen3Vl,
    /// The text model of Qwen3-VL with experts: Qwen3-MoE with M-RoPE.
    Qwen3VlMoe,
}

impl Architecture {
    /// The architectures this engine computes.
    pub(super) const ALL: [Self; 7] = [
        Self::Qwen2,
        Self::Qwen2Moe,
        Self::Qwen3,
        Self::Qwen3Moe,
        Self::Qwen2Vl,
        Self::Qwen3Vl,
        Self::Qwen3VlMoe,
    ];

    /// Its name in `general.architecture` of a file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Qwen2 => "qwen2",
            Self::Qwen2Moe => "qwen2moe",
            Self::Qwen3 => "qwen3",
            Self::Qwen3Moe => "qwen3moe",
            Self::Qwen2Vl => "qwen2vl",
            Self::Qwen3Vl => "qwen3vl",
            Self::Qwen3VlMoe => "qwen3vlmoe",
        }
    }

    /// Whether queries, keys and values have a bias.
    pub(crate) fn has_attention_bias(self) -> bool {
        matches!(self, Self::Qwen2 | Self::Qwen2Moe | Self::Qwen2Vl)
    }

    /// Whether queries and keys are normalised per head.
    pub(crate) fn has_query_norm(self) -> bool {
        matches!(self, Self::Qwen3 | Self::Qwen3Moe | Self::Qwen3Vl | Self::Qwen3VlMoe)
    }

    /// Whether its feed-forward blocks are experts.
    pub(crate) fn has_experts(self) -> bool {
        matches!(self, Self::Qwen2Moe | Self::Qwen3Moe | Self::Qwen3VlMoe)
    }

    /// The order of M-RoPE's pairs, or `None` if it has no M-RoPE.
    pub(super) fn mrope_order(self) -> Option<MropeOrder> {
        match self {
            Self::Qwen2Vl => Some(MropeOrder::Contiguous),
            Self::Qwen3Vl | Self::Qwen3VlMoe => Some(MropeOrder::Interleaved),
            Self::Qwen2 | Self::Qwen2Moe | Self::Qwen3 | Self::Qwen3Moe => None,
        }
    }
}

/// The feed-forward block of every layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedForward {
    /// One network for all tokens.
    Dense {
        /// The width of the inner layer.
        ffn: usize,
    },
    /// A mixture of experts: each token uses a few of many networks.
    Experts(Experts),
}

/// The sizes of a mixture of experts, and how a token's experts are weighted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Experts {
    /// The number of experts.
    pub count: usize,
    /// The number of experts that each token uses, at most `count`.
    pub used: usize,
    /// The width of an expert's inner layer.
    pub ffn: usize,
    /// The width of the shared expert's inner layer, if every token uses a shared expert.
    pub shared_ffn: Option<usize>,
    /// Whether the weights of the chosen experts are normalised to sum to 1. Otherwise they are their
    /// probabilities among all experts.
    pub normalized: bool,
}

/// How an embedding model reduces a text's hidden states to one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The last token's hidden state.
    Last,
}

/// The config of a model, read from the file's metadata and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The architecture.
    pub architecture: Architecture,
    /// The number of layers.
    pub layers: usize,
    /// The width of the residual stream.
    pub hidden: usize,
    /// The number of query heads.
    pub heads: usize,
    /// The number of KV heads. Each serves `heads / kv_heads` query heads.
    pub kv_heads: usize,
    /// Numbers per head.
    pub head_dim: usize,
    /// The feed-forward block.
    pub feed_forward: FeedForward,
    /// The number of tokens that the embedding has rows for.
    pub vocab: usize,
    /// The context length of training, or the one extended by YaRN, in tokens.
    pub context_length: usize,
    /// The epsilon of every RMS norm.
    pub rms_eps: f32,
    /// The base of the rotary embedding's frequencies.
    pub rope_theta: f32,
    /// The extension of the context beyond that of training, if any.
    pub yarn: Option<Yarn>,
    /// The axes of positions, if the model sees images.
    pub mrope: Option<Mrope>,
    /// The number of first layers after which an image's rows are added to again (DeepStack). The decoder does not
    /// do this, so rows can't be injected if it is not 0; text is not affected.
    pub deepstack_layers: usize,
    /// The pooling of an embedding model, or `None` for a model that generates text.
    pub pooling: Option<Pooling>,
}

impl ModelConfig {
    /// The shape of the model's keys and values.
    pub fn kv_shape(&self, kv_type: KvType) -> KvShape {
        KvShape { layers: self.layers, kv_heads: self.kv_heads, head_dim: self.head_dim, kv_type }
    }

    /// Returns the numbers per output row: the vocabulary size, or the size of an embedding.
    pub fn outputs(&self) -> usize {
        if self.pooling.is_some() { self.hidden } else { self.vocab }
    }
}

impl FeedForward {
    /// Returns the width of the widest inner layer.
    pub(crate) fn widest(&self) -> usize {
        match *self {
            Self::Dense { ffn } => ffn,
            Self::Experts(Experts { ffn, shared_ffn, .. }) => ffn.max(shared_ffn.unwrap_or(0)),
        }
    }
}
