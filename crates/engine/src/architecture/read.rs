//! Reads a model's configuration from its metadata.

use super::config::{Architecture, Experts, FeedForward, ModelConfig, Pooling};
use super::delta::DeltaNet;
use super::fixed;
use super::metadata::ModelMetadata;
use super::mrope::Mrope;
use super::yarn::{MAX_CONTEXT_LENGTH, Yarn};
use crate::error::LoadError;
use crate::gguf::{GgufError, GgufFile, Metadata};

impl Architecture {
    /// The architectures this engine computes. Each is described in the file of its family.
    pub(crate) const ALL: [Self; 10] = [
        Self::QWEN2,
        Self::QWEN2_MOE,
        Self::QWEN3,
        Self::QWEN3_MOE,
        Self::QWEN2_VL,
        Self::QWEN3_VL,
        Self::QWEN3_VL_MOE,
        Self::QWEN3_NEXT,
        Self::QWEN35,
        Self::QWEN35_MOE,
    ];

    /// Returns the architecture of a `model_type` in transformers' `config.json`.
    pub(crate) fn of_model_type(model_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.model_types.contains(&model_type))
    }

    /// Reads `general.type` and `general.architecture`.
    ///
    /// # Errors
    /// When the file holds something else than a model, or a model of another architecture.
    fn read(file: &Metadata) -> Result<Self, LoadError> {
        let is_other = |what: &str| Err(file.unsupported(format!("it is {what}: name the model")));
        match file.get::<&str>("general.type")? {
            None | Some("model") => {}
            Some("adapter") => {
                return is_other("a LoRA adapter, not a model (adapters are read as safetensors)");
            }
            Some("mmproj") => return is_other("a projector for images (mmproj), not a model"),
            Some("imatrix") => return is_other("what a quantizer measured (imatrix), not a model"),
            Some(other) => return is_other(&format!("of the type {other:?}, not a model")),
        }
        let name: &str = file.require("general.architecture")?;
        Self::ALL.into_iter().find(|one| one.name == name).ok_or_else(|| {
            let known = Self::ALL.map(|one| one.name).join(", ");
            file.unsupported(format!("its architecture is {name:?}; supported are {known}"))
        })
    }
}

impl ModelConfig {
    /// Reads and checks the metadata of a GGUF file.
    ///
    /// # Errors
    /// If a key is missing, its value is out of range, or the model is not supported.
    pub fn from_gguf(file: &GgufFile) -> Result<Self, LoadError> {
        let embedding = file.tensor("token_embd.weight");
        let vocab = embedding.map(|embedding| embedding.shape[0]);
        let mut config = Self::from_metadata(file.all_metadata(), vocab)?;
        if let (Some(delta), Some(rule)) = (&mut config.delta, config.architecture.delta) {
            delta.order = rule.gguf_order;
        }
        Ok(config)
    }

    /// Reads and checks the metadata of a model whose embedding has rows for `vocab` tokens, or is missing if
    /// `vocab` is `None`.
    pub(crate) fn from_metadata(file: &Metadata, vocab: Option<usize>) -> Result<Self, LoadError> {
        let architecture = Architecture::read(file)?;
        let metadata = &ModelMetadata::new(file, architecture.name);
        let blocks = metadata.required_count("block_count", 1 << 10)?;
        let layers = blocks - predicting_layers(metadata, architecture, blocks)?;
        let hidden = metadata.required_count("embedding_length", 1 << 16)?;
        let heads = metadata.per_layer_count("attention.head_count", 1 << 10, blocks)?;
        let heads = heads.ok_or_else(|| metadata.missing("attention.head_count"))?;
        let kv_heads = metadata.per_layer_count("attention.head_count_kv", heads, blocks)?;
        let kv_heads = kv_heads.unwrap_or(heads);
        let head_dim = metadata.count("attention.key_length", 1 << 10)?.unwrap_or(hidden / heads);
        if heads % kv_heads != 0 {
            let expected = format!("a divisor of the {heads} query heads");
            return Err(metadata.wrong("attention.head_count_kv", expected, kv_heads));
        }
        if head_dim == 0 || head_dim % 2 != 0 {
            return Err(metadata.wrong("attention.key_length", "even", head_dim));
        }
        if let Some(values) = metadata.get::<usize>("attention.value_length")?
            && values != head_dim
        {
            let expected = format!("the key length, {head_dim}");
            return Err(metadata.wrong("attention.value_length", expected, values));
        }
        let rotary_dim = rotary_dim(metadata, architecture, head_dim)?;
        let Some(vocab) = vocab else {
            return Err(file.error(GgufError::MissingTensor { name: "token_embd.weight".into() }));
        };
        let trained = metadata.required_count("context_length", MAX_CONTEXT_LENGTH)?;
        let yarn = Yarn::read(metadata, trained)?;
        let rope_theta = metadata.positive("rope.freq_base")?.unwrap_or(10_000.0);
        if rope_theta <= 1.0 {
            return Err(metadata.wrong("rope.freq_base", "above 1", rope_theta));
        }
        let config = Self {
            architecture,
            layers,
            hidden,
            heads,
            kv_heads,
            head_dim,
            rotary_dim,
            delta: match architecture.delta {
                Some(rule) => Some(DeltaNet::read(metadata, rule, layers)?),
                None => None,
            },
            feed_forward: FeedForward::read(metadata, architecture, blocks)?,
            vocab,
            // Some files have the extended context length here, others that of training.
            context_length: yarn.map_or(trained, |yarn| yarn.context_length().max(trained)),
            rms_eps: metadata.required_positive("attention.layer_norm_rms_epsilon")?,
            rope_theta,
            yarn,
            mrope: Mrope::read(metadata, architecture.mrope, rotary_dim)?,
            deepstack_layers: match architecture.deepstack {
                true => metadata.get("n_deepstack_layers")?.unwrap_or(0),
                false => 0,
            },
            pooling: Pooling::read(metadata)?,
        };
        fixed::check(metadata, &config)?;
        Ok(config)
    }
}

/// Returns how many of the blocks, the last ones, predict further tokens (MTP). They are not used.
fn predicting_layers(
    metadata: &ModelMetadata<'_>,
    architecture: Architecture,
    blocks: usize,
) -> Result<usize, LoadError> {
    const KEY: &str = "nextn_predict_layers";
    if architecture.delta.is_none() {
        return Ok(0);
    }
    match metadata.get(KEY)?.unwrap_or(0) {
        layers if layers < blocks => Ok(layers),
        layers => Err(metadata.wrong(KEY, format!("below block_count, {blocks}"), layers)),
    }
}

/// Returns how many numbers of a head are rotated: all, except in hybrid models.
fn rotary_dim(
    metadata: &ModelMetadata<'_>,
    architecture: Architecture,
    head_dim: usize,
) -> Result<usize, LoadError> {
    const KEY: &str = "rope.dimension_count";
    if architecture.delta.is_none() {
        return Ok(head_dim);
    }
    match metadata.required_count(KEY, head_dim)? {
        rotated if rotated % 2 == 0 => Ok(rotated),
        rotated => Err(metadata.wrong(KEY, "even", rotated)),
    }
}

impl FeedForward {
    fn read(
        metadata: &ModelMetadata<'_>,
        architecture: Architecture,
        layers: usize,
    ) -> Result<Self, LoadError> {
        const FFN: &str = "feed_forward_length";
        const MOST: usize = 1 << 20;
        let width = || {
            let width = metadata.per_layer_count(FFN, MOST, layers)?;
            width.ok_or_else(|| metadata.missing(FFN))
        };
        let Some(rule) = architecture.experts else {
            return Ok(Self::Dense { ffn: width()? });
        };
        let count = metadata.required_count("expert_count", 1 << 10)?;
        let used = metadata.required_count("expert_used_count", count)?;
        // Without a width of its own, an expert has the one that llama.cpp assumes.
        let ffn = match metadata.count("expert_feed_forward_length", MOST)? {
            Some(ffn) => ffn,
            None => (width()? / used).max(1),
        };
        let shared_ffn = if rule.shared {
            let own = metadata.count("expert_shared_feed_forward_length", MOST)?;
            Some(own.map_or_else(width, Ok)?)
        } else {
            None
        };
        Ok(Self::Experts(Experts { count, used, ffn, shared_ffn, normalized: rule.normalized }))
    }
}

impl Pooling {
    /// Reads `pooling_type`, whose numbers are those of `enum llama_pooling_type` in llama.h.
    fn read(metadata: &ModelMetadata<'_>) -> Result<Option<Self>, LoadError> {
        let kind = match metadata.get::<u32>("pooling_type")? {
            None | Some(0) => return Ok(None),
            Some(3) => return Ok(Some(Self::Last)),
            Some(1) => "mean",
            Some(2) => "cls",
            Some(4) => {
                return Err(metadata.all.unsupported(format!(
                    "it is a reranker or classifier ({:?} is 4, \"rank\"), which gives scores and not text: \
                     choose a model that writes text",
                    metadata.name("pooling_type")
                )));
            }
            Some(other) => return Err(metadata.wrong("pooling_type", "from 0 to 4", other)),
        };
        Err(metadata.all.unsupported(format!(
            "it makes embeddings by the pooling type {kind:?}; supported is \"last\""
        )))
    }
}

#[cfg(test)]
mod tests;
