//! A model's architecture and sizes.

use std::ops::Range;

use super::delta::{DeltaNet, DeltaRule};
use super::mrope::{Mrope, MropeOrder};
use super::yarn::Yarn;
use crate::layout::{KvShape, KvType, StateShape};

/// The architecture of a model: what its family of models has in common, whatever their sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Architecture {
    /// Its name in `general.architecture` of a GGUF file.
    pub name: &'static str,
    /// Its values of `model_type` in transformers' `config.json`.
    pub model_types: &'static [&'static str],
    /// Whether queries, keys and values have a bias.
    pub attention_bias: bool,
    /// Whether queries and keys are normalised per head.
    pub head_norms: bool,
    /// The rule by which experts are combined, if the feed-forward blocks are experts.
    pub experts: Option<ExpertRule>,
    /// The order of M-RoPE's pairs, if positions have three axes.
    pub mrope: Option<MropeOrder>,
    /// Whether an image's rows may be added to again after the first layers (DeepStack).
    pub deepstack: bool,
    /// The kind of layers with a recurrent state, if the architecture has them. Attention then has a gate, and
    /// transformers stores norms without the 1 that is added to them.
    pub delta: Option<DeltaRule>,
}

/// The rule by which an architecture combines experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpertRule {
    /// Whether every token uses a shared expert.
    pub shared: bool,
    /// Whether the weights of the chosen experts are normalised to sum to 1.
    pub normalized: bool,
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
    /// The first numbers of a head, which are rotated; the rest are not.
    pub rotary_dim: usize,
    /// The layers with a recurrent state, if there are any.
    pub delta: Option<DeltaNet>,
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
    /// The number of first layers after which an image's rows are added to again (DeepStack). Text is not affected.
    pub deepstack_layers: usize,
    /// The pooling of an embedding model, or `None` for a model that generates text.
    pub pooling: Option<Pooling>,
}

impl ModelConfig {
    /// The shape of the model's keys and values.
    pub fn kv_shape(&self, kv_type: KvType) -> KvShape {
        let layers = self.attention_layers(0..self.layers);
        KvShape { layers, kv_heads: self.kv_heads, head_dim: self.head_dim, kv_type }
    }

    /// Returns the shape of the recurrent state of some layers, or `None` if none of them has one.
    pub fn state_shape(&self, layers: Range<usize>) -> Option<StateShape> {
        let recurrent = layers.len() - self.attention_layers(layers);
        self.delta.filter(|_| recurrent > 0).map(|delta| delta.state_shape(recurrent))
    }

    /// Returns how many of these layers have attention.
    pub(crate) fn attention_layers(&self, layers: Range<usize>) -> usize {
        layers.filter(|layer| !self.is_recurrent(*layer)).count()
    }

    /// Returns whether a layer has a recurrent state, and no attention.
    pub(crate) fn is_recurrent(&self, layer: usize) -> bool {
        self.delta.is_some_and(|delta| delta.is_recurrent(layer))
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
