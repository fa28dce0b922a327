//! Gated DeltaNet: layers with a recurrent state in the place of attention.

use super::metadata::ModelMetadata;
use crate::error::LoadError;
use crate::gguf::{Array, Value};
use crate::layout::{MAX_KERNEL, StateShape};

/// The most heads, and numbers of a head, that are accepted from a file.
const MOST: usize = 1 << 10;

/// What the recurrent layers of an architecture have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeltaRule {
    /// Whether the matrices of `beta` and of the decay are one, which holds both of one key head after the other.
    pub fused_gates: bool,
    /// The order of the value heads in GGUF files. Files of transformers have them grouped.
    pub gguf_order: HeadOrder,
}

/// The order of the value heads, of which each key head serves several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadOrder {
    /// All heads of the first key head, then those of the second.
    Grouped,
    /// The first head of every key head, then the second of every one.
    Tiled,
}

/// The recurrent layers of a model (Gated DeltaNet, <https://arxiv.org/abs/2412.06464>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeltaNet {
    /// One layer of this many has attention: the last of them.
    pub attention_interval: usize,
    /// The number of tokens that the convolution sees, the last of which is the current one.
    pub kernel: usize,
    /// The number of key heads, which is that of query heads.
    pub key_heads: usize,
    /// The number of value heads: a multiple of the key heads.
    pub value_heads: usize,
    /// Numbers per query and key head.
    pub key_dim: usize,
    /// Numbers per value head.
    pub value_dim: usize,
    /// The order of the value heads.
    pub order: HeadOrder,
    /// Whether the matrices of `beta` and of the decay are one.
    pub fused_gates: bool,
}

impl DeltaNet {
    /// Reads `ssm.*` and the positions of the layers with attention.
    pub(super) fn read(
        metadata: &ModelMetadata<'_>,
        rule: DeltaRule,
        layers: usize,
    ) -> Result<Self, LoadError> {
        let key_heads = metadata.required_count("ssm.group_count", MOST)?;
        let value_heads = metadata.required_count("ssm.time_step_rank", MOST)?;
        if !value_heads.is_multiple_of(key_heads) {
            let expected = format!("a multiple of the {key_heads} key heads (ssm.group_count)");
            return Err(metadata.wrong("ssm.time_step_rank", expected, value_heads));
        }
        let values = metadata.required_count("ssm.inner_size", MOST * MOST)?;
        if !values.is_multiple_of(value_heads) {
            let expected =
                format!("a multiple of the {value_heads} value heads (ssm.time_step_rank)");
            return Err(metadata.wrong("ssm.inner_size", expected, values));
        }
        let kernel = metadata.required_count("ssm.conv_kernel", MAX_KERNEL)?;
        if kernel < 2 {
            return Err(metadata.wrong("ssm.conv_kernel", "from 2", kernel));
        }
        let interval = metadata.count("full_attention_interval", MOST)?.unwrap_or(4);
        let net = Self {
            attention_interval: interval,
            kernel,
            key_heads,
            value_heads,
            key_dim: metadata.required_count("ssm.state_size", MOST)?,
            value_dim: values / value_heads,
            order: HeadOrder::Grouped,
            fused_gates: rule.fused_gates,
        };
        net.check_layers(metadata, layers)?;
        Ok(net)
    }

    /// Checks a list of the recurrent layers, if there is one.
    fn check_layers(&self, metadata: &ModelMetadata<'_>, layers: usize) -> Result<(), LoadError> {
        const KEY: &str = "attention.recurrent_layers";
        let Some(value) = metadata.value(KEY) else { return Ok(()) };
        let Value::Array(Array::Bool(recurrent)) = value else {
            return Err(metadata.wrong(KEY, "a list of true and false", value.describe()));
        };
        let differs =
            recurrent.iter().take(layers).enumerate().find(|(i, is)| **is != self.is_recurrent(*i));
        match differs {
            None if recurrent.len() >= layers => Ok(()),
            None => {
                let expected = format!("one value for each of the {layers} layers");
                Err(metadata.wrong(KEY, expected, format!("{} values", recurrent.len())))
            }
            Some((layer, is)) => Err(metadata.all.unsupported(format!(
                "metadata {:?} is {is} for layer {layer}; supported are models in which one layer of {} has \
                 attention, the last of them",
                metadata.name(KEY),
                self.attention_interval
            ))),
        }
    }

    /// Returns whether a layer of the model has a recurrent state, and no attention.
    pub fn is_recurrent(&self, layer: usize) -> bool {
        !(layer + 1).is_multiple_of(self.attention_interval)
    }

    /// Returns the number of value heads per key head.
    pub fn per_key_head(&self) -> usize {
        self.value_heads / self.key_heads
    }

    /// Returns the key head of a value head.
    pub fn key_head_of(&self, value_head: usize) -> usize {
        match self.order {
            HeadOrder::Grouped => value_head / self.per_key_head(),
            HeadOrder::Tiled => value_head % self.key_heads,
        }
    }

    /// Returns the numbers of all keys of a token.
    pub fn keys(&self) -> usize {
        self.key_heads * self.key_dim
    }

    /// Returns the numbers of all values of a token.
    pub fn values(&self) -> usize {
        self.value_heads * self.value_dim
    }

    /// Returns the channels of the convolution: queries, keys and values.
    pub fn channels(&self) -> usize {
        2 * self.keys() + self.values()
    }

    /// Returns the shape of the state of `layers` recurrent layers.
    pub fn state_shape(&self, layers: usize) -> StateShape {
        StateShape {
            layers,
            conv: (self.kernel - 1) * self.channels(),
            memory: self.value_heads * self.key_dim * self.value_dim,
        }
    }
}
