//! The decoder: computes logits from tokens.

use candle_core as candle;

use super::attention::Attention;
use super::delta::Delta;
use super::mlp::Mlp;
use super::{ModelConfig, Workspace, unused};
use crate::architecture::{LayerSpec, MatrixSpec, MixerSpec, Part, Rope};
use crate::batch::ForwardBatch;
use crate::kernels::rows;
use crate::kv::KvPool;
use crate::lora::Adapters;
use crate::weights::{Embedding, Linear, Weights};
use crate::{Checkpoint, LoadError};

/// A Qwen model, or a part of its layers. It has no state: a sequence's data is in the batch and in the
/// pages.
#[derive(Debug)]
pub struct Decoder {
    config: ModelConfig,
    /// `Some` in the first part.
    embedding: Option<Embedding>,
    layers: Vec<Layer>,
    /// The number of layers before these.
    first_layer: usize,
    /// `Some` in the last part.
    end: Option<End>,
    rope: Rope,
    adapters: Adapters,
}

/// The last norm and the head.
#[derive(Debug)]
struct End {
    /// `[hidden]`
    norm: Vec<f32>,
    /// `[vocab, hidden]`, or `None` in an embedding model.
    head: Option<Linear>,
}

#[derive(Debug)]
struct Layer {
    /// `[hidden]`
    mixer_norm: Vec<f32>,
    mixer: Mixer,
    /// The index of the layer's keys and values, or of its states, in the pools.
    in_pool: usize,
    /// `[hidden]`
    mlp_norm: Vec<f32>,
    mlp: Mlp,
}

/// The block that mixes the tokens of a sequence.
#[derive(Debug)]
enum Mixer {
    Attention(Attention),
    Delta(Delta),
}

impl Decoder {
    /// Loads all layers of a checkpoint.
    ///
    /// # Errors
    /// If a tensor is missing or damaged, its shape does not match the checkpoint's config, a tensor is not
    /// used by the decoder, or the architecture is not supported.
    pub fn load(checkpoint: impl Into<Checkpoint>) -> Result<Self, LoadError> {
        let checkpoint = checkpoint.into();
        let config = checkpoint.config()?;
        Self::check(&checkpoint, &config)?;
        let decoder = Self::load_part(&checkpoint, &Part::whole(&config))?;
        checkpoint.check_unchanged()?;
        Ok(decoder)
    }

    /// Takes inventory before any weight is read: every tensor that the decoder loads is there in its shape, and
    /// every tensor that is there is loaded, or is known to change nothing.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape, or not used.
    pub(crate) fn check(checkpoint: &Checkpoint, config: &ModelConfig) -> Result<(), LoadError> {
        let weights = Weights::from_headers(checkpoint);
        Self::take(&weights, config, &Part::whole(config))?;
        unused::refuse(checkpoint, config, &weights.taken())
    }

    /// Loads a part of a checkpoint's layers, with the embedding if it is the first part and the last norm
    /// and the head if it is the last.
    ///
    /// # Errors
    /// As [`load`](Self::load). Tensors of other parts are not checked.
    pub(crate) fn load_part(checkpoint: &Checkpoint, part: &Part) -> Result<Self, LoadError> {
        let config = checkpoint.config()?;
        crate::kernels::arena::start_new_chunk();
        Self::take(&Weights::of_part(checkpoint, part), &config, part)
    }

    /// Takes the tensors of a part of the layers.
    fn take(weights: &Weights<'_>, config: &ModelConfig, part: &Part) -> Result<Self, LoadError> {
        let ModelConfig { hidden, vocab, .. } = *config;
        let embedding = part.is_first().then(|| weights.embedding("token_embd", vocab, hidden));
        let end = part.is_last().then(|| End::load(weights, config));
        let layers = part.layers().map(|layer| Layer::load(weights, config, part, layer));
        Ok(Self {
            embedding: embedding.transpose()?,
            end: end.transpose()?,
            layers: layers.collect::<Result<_, _>>()?,
            first_layer: part.layers().start,
            adapters: Adapters::default(),
            rope: Rope::new(config),
            config: config.clone(),
        })
    }

    /// Checks that nobody has written to a file from which steps read since it was opened.
    ///
    /// # Errors
    /// When a size or a time of modification has changed.
    pub(crate) fn check_unchanged(&self) -> Result<(), LoadError> {
        self.embedding.as_ref().map_or(Ok(()), Embedding::check_unchanged)
    }

    /// Returns the model with `adapters`, which must have been loaded for its config and layers. A batch
    /// chooses an adapter for each sequence.
    pub fn with_adapters(self, adapters: Adapters) -> Self {
        Self { adapters, ..self }
    }

    /// The config of the whole model, also if this is a part of it.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Computes one step, and stores the keys and values of all tokens of the batch in `kv`.
    ///
    /// Returns the logits of `batch.logit_rows`, then of `batch.argmax_rows`: `[rows, vocab]` in f32. An
    /// embedding model returns the normalised hidden states of these rows instead, `[rows, hidden]`.
    ///
    /// A part that is not the last returns the residual stream, `[tokens, hidden]`, which also stays in the
    /// workspace. A part that is not the first reads the stream from the workspace.
    ///
    /// # Errors
    /// If the batch names an adapter that is not loaded, or a product of candle fails.
    pub fn forward<'a>(
        &self,
        batch: &ForwardBatch,
        kv: &mut KvPool,
        workspace: &'a mut Workspace,
    ) -> candle::Result<&'a mut [f32]> {
        let ModelConfig { hidden, rms_eps, .. } = self.config;
        let tokens = batch.tokens.len();
        workspace.adapted.sort(batch, self.adapters.len())?;
        self.rope.compute_angles(&batch.positions, &mut workspace.angles);
        let len = tokens * hidden;
        let x = workspace.x.of(len);
        if let Some(embedding) = &self.embedding {
            embedding.rows(&batch.tokens, x)?;
            batch.inject(x, hidden);
        }
        rows::rms_norm(x, &self.layers[0].mixer_norm, rms_eps, workspace.h.of(len));
        for (index, layer) in self.layers.iter().enumerate() {
            let places = (index, layer.in_pool);
            match &layer.mixer {
                Mixer::Attention(block) => {
                    block.forward(batch, kv, places, &self.adapters, workspace)?;
                }
                Mixer::Delta(block) => {
                    block.forward(batch, kv, places, &self.adapters, workspace)?;
                }
            }
            workspace.add_and_norm(len, &layer.mlp_norm, rms_eps);
            layer.mlp.forward(tokens, index, &self.adapters, workspace)?;
            batch.add_after(self.first_layer + index, workspace.added.of(len), hidden);
            let next = self.layers.get(index + 1).map(|next| &next.mixer_norm);
            match next.or(self.end.as_ref().map(|end| &end.norm)) {
                Some(norm) => workspace.add_and_norm(len, norm, rms_eps),
                None => workspace.add(len),
            }
        }
        let Some(end) = &self.end else { return Ok(workspace.x.of(len)) };
        let Workspace { h, added, logits, scratch, .. } = workspace;
        // Gathers the wanted rows.
        let rows = batch.wanted_rows();
        let num_rows = rows.len();
        let wanted = added.of(num_rows * hidden);
        for (row, wanted) in rows.zip(wanted.chunks_exact_mut(hidden)) {
            wanted.copy_from_slice(&h.of(len)[row * hidden..(row + 1) * hidden]);
        }
        let Some(head) = &end.head else { return Ok(wanted) };
        let logits = logits.of(num_rows * head.outputs());
        if !logits.is_empty() {
            head.forward(wanted, logits, scratch)?;
        }
        Ok(logits)
    }

    /// Lets candle prepare the layout of its weights now instead of in the first request.
    pub fn warm_up(&self) -> candle::Result<()> {
        use rayon::prelude::*;
        self.linears().par_iter().try_for_each(|linear| linear.warm_up())
    }

    /// Returns whether the logits of a row are the same, to the bit, whatever other rows are computed with it.
    pub(crate) fn rows_are_independent(&self) -> bool {
        self.linears().iter().all(|linear| linear.is_packed())
    }

    /// Returns the matrices of the layers and of the head.
    fn linears(&self) -> Vec<&Linear> {
        let mut linears: Vec<&Linear> = self.end.iter().flat_map(|end| &end.head).collect();
        for layer in &self.layers {
            match &layer.mixer {
                Mixer::Attention(block) => linears.extend(block.linears()),
                Mixer::Delta(block) => linears.extend(block.linears()),
            }
            linears.extend(layer.mlp.linears());
        }
        linears
    }
}

impl End {
    fn load(weights: &Weights<'_>, config: &ModelConfig) -> Result<Self, LoadError> {
        let ModelConfig { hidden, vocab, .. } = *config;
        let head = config.pooling.is_none().then(|| {
            let head = if weights.has_own_head() { "output" } else { "token_embd" };
            weights.linear(&MatrixSpec::new(head, vocab, hidden))
        });
        Ok(Self { head: head.transpose()?, norm: weights.vector(&config.output_norm())? })
    }
}

impl Layer {
    fn load(
        weights: &Weights<'_>,
        config: &ModelConfig,
        part: &Part,
        index: usize,
    ) -> Result<Self, LoadError> {
        let LayerSpec { mixer_norm, mixer, mlp_norm, mlp } = config.layer(index);
        let before = part.layers().start..index;
        let with_attention = config.attention_layers(before.clone());
        let (mixer, in_pool) = match mixer {
            MixerSpec::Attention(spec) => {
                (Mixer::Attention(Attention::load(weights, config, &spec)?), with_attention)
            }
            MixerSpec::Delta(spec) => {
                let block = Delta::load(weights, &spec, config.rms_eps)?;
                (Mixer::Delta(block), before.len() - with_attention)
            }
        };
        Ok(Self {
            mixer_norm: weights.vector(&mixer_norm)?,
            mixer,
            in_pool,
            mlp_norm: weights.vector(&mlp_norm)?,
            mlp: Mlp::load(weights, &mlp)?,
        })
    }
}
