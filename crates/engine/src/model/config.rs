//! What kind of Qwen a file holds.

use crate::LoadError;
use crate::gguf::{GgufError, GgufFile, Metadata};
use crate::kv::{KvShape, KvType};

/// The architectures this engine computes, by their name in the file.
const SUPPORTED: [(&str, Architecture); 2] =
    [("qwen2", Architecture::Qwen2), ("qwen3", Architecture::Qwen3)];

/// A family of models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Qwen2 and Qwen2.5: queries, keys and values have a bias.
    Qwen2,
    /// Qwen3: queries and keys are normalised per head.
    Qwen3,
}

impl Architecture {
    /// Its name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
        }
    }
}

/// The numbers that make a model, read from the file's metadata and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The family.
    pub architecture: Architecture,
    /// Layers.
    pub layers: usize,
    /// Numbers per token between the layers.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; each serves `heads / kv_heads` query heads.
    pub kv_heads: usize,
    /// Numbers per head.
    pub head_dim: usize,
    /// Numbers per token inside the feed-forward block.
    pub ffn: usize,
    /// Tokens the model knows.
    pub vocab: usize,
    /// Tokens the model was trained for.
    pub context_length: usize,
    /// Added to the mean square in every norm.
    pub rms_eps: f32,
    /// The base of the rotary embedding's frequencies.
    pub rope_theta: f32,
}

impl ModelConfig {
    /// Reads and checks the metadata.
    pub fn from_gguf(file: &GgufFile) -> Result<Self, LoadError> {
        let embedding = file.tensor("token_embd.weight");
        Self::from_metadata(file.all_metadata(), embedding.map(|embedding| embedding.shape[0]))
    }

    /// Reads and checks the metadata of a model whose embedding, if there is one, has rows for `vocab`
    /// tokens.
    pub(crate) fn from_metadata(file: &Metadata, vocab: Option<usize>) -> Result<Self, LoadError> {
        let name: &str = file.require("general.architecture")?;
        let Some((_, architecture)) = SUPPORTED.iter().find(|(known, _)| *known == name) else {
            let known = SUPPORTED.map(|(known, _)| known).join(", ");
            return Err(
                file.unsupported(format!("its architecture is {name:?}; supported are {known}"))
            );
        };
        let key = |rest: &str| format!("{name}.{rest}");
        let number = |rest: &str, most: usize| -> Result<usize, LoadError> {
            in_range(file, &key(rest), file.require(&key(rest))?, most)
        };
        let hidden = number("embedding_length", 1 << 16)?;
        let heads = number("attention.head_count", 1 << 10)?;
        let kv_heads = match file.get(&key("attention.head_count_kv"))? {
            Some(value) => in_range(file, &key("attention.head_count_kv"), value, heads)?,
            None => heads,
        };
        let head_dim = match file.get(&key("attention.key_length"))? {
            Some(value) => in_range(file, &key("attention.key_length"), value, 1 << 10)?,
            None => hidden / heads,
        };
        let wrong = |rest: &str, expected: String, found: String| {
            file.error(GgufError::WrongValue { key: key(rest), expected, found })
        };
        if heads % kv_heads != 0 {
            let expected = format!("a divisor of the {heads} query heads");
            return Err(wrong("attention.head_count_kv", expected, kv_heads.to_string()));
        }
        if head_dim == 0 || head_dim % 2 != 0 {
            return Err(wrong("attention.key_length", "even".to_owned(), head_dim.to_string()));
        }
        if let Some(values) = file.get::<usize>(&key("attention.value_length"))?
            && values != head_dim
        {
            let expected = format!("the key length, {head_dim}");
            return Err(wrong("attention.value_length", expected, values.to_string()));
        }
        if let Some(scaling) = file.get::<&str>(&key("rope.scaling.type"))?
            && scaling != "none"
        {
            return Err(file.unsupported(format!(
                "it stretches its context by {scaling:?} rope scaling, which is not supported; \
                 choose the file without it"
            )));
        }
        let Some(vocab) = vocab else {
            return Err(file.error(GgufError::MissingTensor { name: "token_embd.weight".into() }));
        };
        let config = Self {
            architecture: *architecture,
            layers: number("block_count", 1 << 10)?,
            hidden,
            heads,
            kv_heads,
            head_dim,
            ffn: number("feed_forward_length", 1 << 20)?,
            vocab,
            context_length: number("context_length", 1 << 24)?,
            rms_eps: file.require(&key("attention.layer_norm_rms_epsilon"))?,
            rope_theta: file.get(&key("rope.freq_base"))?.unwrap_or(10_000.0),
        };
        let sane = |value: f32| value.is_finite() && value > 0.0;
        if !sane(config.rms_eps) {
            let found = config.rms_eps.to_string();
            return Err(wrong("attention.layer_norm_rms_epsilon", "above 0".to_owned(), found));
        }
        if !sane(config.rope_theta) {
            let found = config.rope_theta.to_string();
            return Err(wrong("rope.freq_base", "above 0".to_owned(), found));
        }
        Ok(config)
    }

    /// The shape of the model's keys and values.
    pub fn kv_shape(&self, kv_type: KvType) -> KvShape {
        KvShape { layers: self.layers, kv_heads: self.kv_heads, head_dim: self.head_dim, kv_type }
    }
}

fn in_range(file: &Metadata, key: &str, value: usize, most: usize) -> Result<usize, LoadError> {
    if (1..=most).contains(&value) {
        return Ok(value);
    }
    Err(file.error(GgufError::WrongValue {
        key: key.to_owned(),
        expected: format!("from 1 to {most}"),
        found: value.to_string(),
    }))
}
