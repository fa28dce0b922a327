//! The whole model: tokens in, logits out.

use candle_core as candle;

use super::attention::Attention;
use super::mlp::Mlp;
use super::rope::Rope;
use super::{ModelConfig, Workspace};
use crate::batch::ForwardBatch;
use crate::kernels::rows;
use crate::kv::KvPool;
use crate::lora::Adapters;
use crate::weights::{Embedding, Linear, Weights};
use crate::{Checkpoint, LoadError};

/// A Qwen model. It keeps no state: everything a sequence needs is in the batch and in the pages.
#[derive(Debug)]
pub struct Decoder {
    config: ModelConfig,
    embedding: Embedding,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    /// What makes logits of a row; an embedding model has none.
    head: Option<Linear>,
    rope: Rope,
    adapters: Adapters,
}

#[derive(Debug)]
struct Layer {
    attention_norm: Vec<f32>,
    attention: Attention,
    mlp_norm: Vec<f32>,
    mlp: Mlp,
}

impl Decoder {
    /// Loads a checkpoint's weights.
    ///
    /// # Errors
    /// When a tensor is missing, damaged or not what the checkpoint's own numbers ask for, or the kind of
    /// model is not supported.
    pub fn load(checkpoint: impl Into<Checkpoint>) -> Result<Self, LoadError> {
        let checkpoint = checkpoint.into();
        let config = checkpoint.config()?;
        crate::kernels::arena::begin_anew();
        let weights = Weights::new(&checkpoint);
        let ModelConfig { hidden, vocab, .. } = config;
        let embedding = weights.embedding("token_embd", vocab, hidden)?;
        let head = config.pooling.is_none().then(|| {
            let head = if weights.has_own_head() { "output" } else { "token_embd" };
            weights.linear(head, vocab, hidden)
        });
        let layers = (0..config.layers)
            .map(|layer| Layer::load(&weights, &config, layer))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            embedding,
            layers,
            norm: weights.vector("output_norm.weight", hidden)?,
            head: head.transpose()?,
            adapters: Adapters::default(),
            rope: Rope::new(config.head_dim, config.rope_theta, config.yarn.as_ref()),
            config,
        })
    }

    /// The same model with adapters beside it, which were loaded for its config; a batch names them.
    pub fn with_adapters(self, adapters: Adapters) -> Self {
        Self { adapters, ..self }
    }

    /// What kind of model it is.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// One step: the logits of `batch.logit_rows`, then of `batch.likeliest_rows`, `[rows, vocab]`; of an
    /// embedding model what becomes their embeddings, `[rows, hidden]`. The keys and values of all tokens are in
    /// the pages afterwards.
    pub fn forward<'a>(
        &self,
        batch: &ForwardBatch,
        kv: &mut KvPool,
        workspace: &'a mut Workspace,
    ) -> candle::Result<&'a mut [f32]> {
        let ModelConfig { hidden, rms_eps, .. } = self.config;
        let tokens = batch.tokens.len();
        workspace.adapted.sort(batch, self.adapters.len())?;
        self.rope.turn_to(&batch.positions, &mut workspace.angles);
        let len = tokens * hidden;
        let x = workspace.x.of(len);
        self.embedding.rows(&batch.tokens, x)?;
        rows::rms_norm(x, &self.layers[0].attention_norm, rms_eps, workspace.h.of(len));
        for (index, layer) in self.layers.iter().enumerate() {
            layer.attention.forward(batch, kv, index, &self.adapters, workspace)?;
            workspace.add_and_norm(len, &layer.mlp_norm, rms_eps);
            layer.mlp.forward(tokens, index, &self.adapters, workspace)?;
            let next = self.layers.get(index + 1).map_or(&self.norm, |next| &next.attention_norm);
            workspace.add_and_norm(len, next, rms_eps);
        }
        let Workspace { h, added, logits, scratch, .. } = workspace;
        // The rows that are wanted, one after the other.
        let rows = batch.wanted_rows();
        let num_rows = rows.len();
        let wanted = added.of(num_rows * hidden);
        for (row, wanted) in rows.zip(wanted.chunks_exact_mut(hidden)) {
            wanted.copy_from_slice(&h.of(len)[row * hidden..(row + 1) * hidden]);
        }
        let Some(head) = &self.head else { return Ok(wanted) };
        let logits = logits.of(num_rows * head.outputs());
        if !logits.is_empty() {
            head.forward(wanted, logits, scratch)?;
        }
        Ok(logits)
    }

    /// Lets candle lay out the weights that it multiplies now, not in the first request.
    pub fn warm_up(&self) -> candle::Result<()> {
        use rayon::prelude::*;
        let mut linears: Vec<&Linear> = self.head.iter().collect();
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
