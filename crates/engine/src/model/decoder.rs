//! The whole model: tokens in, logits out.

use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::{self as candle, Device, Tensor};

use super::ModelConfig;
use super::attention::Attention;
use super::mlp::Mlp;
use super::ops;
use super::rope::Rope;
use crate::LoadError;
use crate::batch::ForwardBatch;
use crate::gguf::GgufFile;
use crate::kv::KvPool;
use crate::weights::{Linear, Weights};

/// A Qwen model. It keeps no state: everything a sequence needs is in the batch and in the pages.
#[derive(Debug)]
pub struct Decoder {
    config: ModelConfig,
    device: Device,
    /// `[vocab, hidden]`, in the format of the file
    embedding: Arc<QTensor>,
    layers: Vec<Layer>,
    norm: Tensor,
    head: Linear,
    rope: Rope,
}

#[derive(Debug)]
struct Layer {
    attention_norm: Tensor,
    attention: Attention,
    mlp_norm: Tensor,
    mlp: Mlp,
}

impl Decoder {
    /// Loads a file's weights onto a device.
    pub fn load(file: &GgufFile, device: &Device) -> Result<Self, LoadError> {
        let config = ModelConfig::from_gguf(file)?;
        let weights = Weights::new(file, device);
        let ModelConfig { hidden, vocab, .. } = config;
        let embedding = Arc::new(weights.matrix("token_embd.weight", vocab, hidden)?);
        let head = if weights.has("output.weight") {
            weights.linear("output", vocab, hidden)?
        } else {
            Linear::new(embedding.clone(), None)
                .map_err(|error| weights.compute_error("token_embd.weight", &error))?
        };
        let layers = (0..config.layers)
            .map(|layer| Layer::load(&weights, &config, layer))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            device: device.clone(),
            embedding,
            layers,
            norm: weights.vector("output_norm.weight", hidden)?,
            head,
            rope: Rope::new(config.head_dim, config.rope_theta),
            config,
        })
    }

    /// What kind of model it is.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// One step: the logits of `batch.logit_rows`, `[logit_rows, vocab]` f32. The keys and values
    /// of all tokens are in the pages afterwards.
    pub fn forward(&self, batch: &ForwardBatch, kv: &mut KvPool) -> candle::Result<Tensor> {
        let eps = self.config.rms_eps;
        let tokens = Tensor::from_slice(&batch.tokens, batch.tokens.len(), &self.device)?;
        let angles = self.rope.at(&batch.positions);
        // x: the residual stream, h: its normalised form; both [tokens, hidden]
        let mut x = self.embedding.embedding(&tokens)?;
        let mut h = ops::rms_norm(&x, &self.layers[0].attention_norm, eps)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let mixed = layer.attention.forward(&h, &angles, batch, kv, index)?;
            (x, h) = ops::add_rms_norm(&x, &mixed, &layer.mlp_norm, eps)?;
            let fed = layer.mlp.forward(&h)?;
            let next = self.layers.get(index + 1).map_or(&self.norm, |next| &next.attention_norm);
            (x, h) = ops::add_rms_norm(&x, &fed, next, eps)?;
        }
        let h = ops::select_rows(&h, &batch.logit_rows)?;
        self.head.forward(&h)
    }

    /// Lets the computing library lay out all weights for its kernels now, not in the first
    /// request.
    pub fn warm_up(&self) -> candle::Result<()> {
        use rayon::prelude::*;
        let mut linears = vec![&self.head];
        for layer in &self.layers {
            linears.extend(layer.attention.linears());
            linears.extend(layer.mlp.linears());
        }
        linears.par_iter().try_for_each(|linear| linear.warm_up())
    }
}

impl Layer {
    fn load(weights: &Weights<'_>, config: &ModelConfig, index: usize) -> Result<Self, LoadError> {
        let prefix = format!("blk.{index}");
        let norm = |name: &str| weights.vector(&format!("{prefix}.{name}.weight"), config.hidden);
        Ok(Self {
            attention_norm: norm("attn_norm")?,
            attention: Attention::load(weights, config, &prefix)?,
            mlp_norm: norm("ffn_norm")?,
            mlp: Mlp::load(weights, config, &prefix)?,
        })
    }
}
