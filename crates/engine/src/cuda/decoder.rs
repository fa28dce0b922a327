//! The whole model on a device: tokens in, logits out.

use candle_core::{Device, Result, Tensor};

use super::layer::Layer;
use super::linear::{Linear, on_device};
use super::{load_error, multiprocessors};
use crate::batch::ForwardBatch;
use crate::kernels::cuda::{HEAD_DIMS, Kernels, Pages};
use crate::kv::KvShape;
use crate::lora::{AdaptedRows, Adapters};
use crate::model::{Angles, ModelConfig, Part, Rope, Workspace};
use crate::weights::{Embedding, Weights};
use crate::{Checkpoint, LoadError};

/// Query heads that share a key and value head, at most: as many rows as a tile of f32 pages has.
const MOST_IN_GROUP: usize = 16;

/// A Qwen model, or a part of its layers, on a device. It does the steps of [`crate::model::Decoder`], and keeps
/// no state either.
#[derive(Debug)]
pub(crate) struct Decoder {
    config: ModelConfig,
    file: String,
    device: Device,
    kernels: Kernels,
    embedding: Rows,
    layers: Vec<Layer>,
    /// Of the last part.
    norm: Option<Tensor>,
    /// What makes logits of a row, in the last part; an embedding model has none.
    head: Option<Linear>,
    rope: Rope,
    angles: Angles,
    /// How many adapters there are, and their largest rank.
    adapters: usize,
    most_rank: usize,
    adapted: AdaptedRows,
}

/// Where the rows of tokens come from.
#[derive(Debug)]
enum Rows {
    /// From the head, which is the embedding too.
    Head,
    /// From the file: the device's memory is for what multiplies.
    File(Embedding),
    /// From the part before, by the workspace.
    Handed,
}

impl Decoder {
    /// Loads the weights of a part of a checkpoint's layers to a device.
    ///
    /// # Errors
    /// When a tensor is missing or damaged, the kernels are not made for the model's shape, or the device's
    /// memory is too small.
    pub(crate) fn load(
        checkpoint: &Checkpoint,
        device: &Device,
        part: &Part,
    ) -> std::result::Result<Self, LoadError> {
        let config = checkpoint.config()?;
        let file = checkpoint.label().to_owned();
        let ModelConfig { hidden, vocab, heads, kv_heads, head_dim, .. } = config;
        let unsupported = |problem| LoadError::Unsupported { file: file.clone(), problem };
        if !HEAD_DIMS.contains(&head_dim) {
            return Err(unsupported(format!(
                "its heads have {head_dim} numbers; on CUDA they may have {HEAD_DIMS:?}"
            )));
        }
        if heads / kv_heads > MOST_IN_GROUP {
            return Err(unsupported(format!(
                "{} query heads share a key head; on CUDA {MOST_IN_GROUP} may",
                heads / kv_heads
            )));
        }
        let failed = |error: candle_core::Error| load_error(&file, &error);
        let kernels = Kernels::new(device, multiprocessors(device)).map_err(failed)?;
        let weights = Weights::of_part(checkpoint, part);
        let own_head = weights.has_own_head();
        let head = (part.is_last() && config.pooling.is_none()).then(|| {
            let name = if own_head { "output" } else { "token_embd" };
            Linear::load(&weights, device, name, [vocab, hidden], false)
        });
        let embedding = if !part.is_first() {
            Rows::Handed
        } else if part.is_last() && config.pooling.is_none() && !own_head {
            Rows::Head
        } else {
            Rows::File(weights.embedding("token_embd", vocab, hidden)?)
        };
        let layers = part
            .layers()
            .map(|layer| Layer::load(&weights, device, &config, layer))
            .collect::<std::result::Result<_, _>>()?;
        let norm = part.is_last().then(|| {
            let norm = weights.vector("output_norm.weight", hidden)?;
            on_device(&weights, device, norm, &[hidden])
        });
        let decoder = Self {
            embedding,
            layers,
            norm: norm.transpose()?,
            head: head.transpose()?,
            rope: Rope::new(head_dim, config.rope_theta, config.yarn.as_ref()),
            angles: Angles::default(),
            adapters: 0,
            most_rank: 0,
            adapted: AdaptedRows::default(),
            device: device.clone(),
            kernels,
            file: file.clone(),
            config,
        };
        // What the copies had to complain of.
        decoder.kernels.synchronize().map_err(failed)?;
        Ok(decoder)
    }

    /// The same model with adapters beside it, which were loaded for its config and have its layers; a
    /// batch names them.
    ///
    /// # Errors
    /// When the device's memory is too small.
    pub(crate) fn with_adapters(
        mut self,
        adapters: &Adapters,
    ) -> std::result::Result<Self, LoadError> {
        let failed = |error: candle_core::Error| load_error(&self.file, &error);
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let deltas = |projection| self.kernels.deltas(adapters.deltas(index, projection));
            layer.adapt(deltas).map_err(failed)?;
        }
        (self.adapters, self.most_rank) = (adapters.len(), adapters.most_rank());
        // What the copies had to complain of.
        self.kernels.synchronize().map_err(failed)?;
        Ok(self)
    }

    /// Checks that nobody has written to a file from which steps read since it was opened.
    ///
    /// # Errors
    /// When a size or a time of modification has changed.
    pub(crate) fn check_unchanged(&self) -> std::result::Result<(), LoadError> {
        match &self.embedding {
            Rows::File(embedding) => embedding.check_unchanged(),
            Rows::Head | Rows::Handed => Ok(()),
        }
    }

    /// What kind of model the whole is.
    pub(crate) fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Room for keys and values on the device.
    pub(crate) fn pages(
        &self,
        shape: KvShape,
        pages: usize,
    ) -> std::result::Result<Pages, LoadError> {
        self.kernels.pages(shape, pages).map_err(|error| load_error(&self.file, &error))
    }

    /// Computes a step of one token, so that the driver has made what the first request would wait for. `pages`
    /// has one page at least.
    pub(crate) fn warm_up(&mut self, pages: &Pages) -> std::result::Result<(), LoadError> {
        let allocator = crate::kv::PageAllocator::new(1);
        let mut batch = ForwardBatch::default();
        if let Some(table) = allocator.reserve(1) {
            batch.push(&[0], 0, &table, crate::batch::Logits::Last);
        }
        let mut workspace = Workspace::default();
        let outcome = self.forward(&batch, pages, &mut workspace, &mut Vec::new()).map(|_| ());
        outcome.map_err(|error| load_error(&self.file, &error))
    }

    /// One step: the logits of `batch.logit_rows`, as [`crate::model::Decoder::forward`], come to `workspace`, and
    /// what is likeliest of `batch.likeliest_rows` behind what `likeliest` has; none where nothing is above minus infinity.
    pub(crate) fn forward<'a>(
        &mut self,
        batch: &ForwardBatch,
        pages: &Pages,
        workspace: &'a mut Workspace,
        likeliest: &mut Vec<Option<u32>>,
    ) -> Result<&'a mut [f32]> {
        let ModelConfig { heads, rms_eps, .. } = self.config;
        let kernels = &self.kernels;
        // Another part's device may have been used last, and cuBLAS takes the thread's.
        kernels.bind()?;
        self.rope.turn_to(&batch.positions, &mut self.angles);
        let Angles { cos, sin } = &self.angles;
        let mut step = kernels.step(batch, heads, pages, cos, sin)?;
        self.adapted.sort(batch, self.adapters)?;
        step.adapted = kernels.adapted_step(
            &self.adapted.plan(),
            batch.tokens.len(),
            self.adapters,
            self.most_rank,
        )?;
        let x = self.embed(&batch.tokens, workspace)?;
        let mut h = kernels.rms_norm(&x, &self.layers[0].attention_norm, rms_eps)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let added = layer.attend(kernels, &self.config, pages, index, &step, &h)?;
            h = kernels.add_rms_norm(&x, &added, &layer.mlp_norm, rms_eps)?;
            let added = layer.mlp.forward(kernels, &h, step.adapted.as_ref())?;
            let next = self.layers.get(index + 1).map(|next| &next.attention_norm);
            let Some(next) = next.or(self.norm.as_ref()) else {
                let stream = workspace.stream(x.elem_count());
                kernels.download(&(&x + &added)?, stream)?;
                return Ok(stream);
            };
            h = kernels.add_rms_norm(&x, &added, next, rms_eps)?;
        }
        let (whole, drawn) = (batch.logit_rows.len(), batch.likeliest_rows.len());
        let out = workspace.logits(whole * self.config.outputs());
        if whole + drawn == 0 {
            kernels.synchronize()?;
            return Ok(out);
        }
        let wanted: Vec<u32> = batch.wanted_rows().map(|row| row as u32).collect();
        let wanted = h.index_select(&Tensor::from_vec(wanted, whole + drawn, &self.device)?, 0)?;
        let made = match &self.head {
            Some(head) => head.forward(kernels, &wanted, None)?,
            None => wanted,
        };
        if drawn > 0 {
            let mut places = vec![0; drawn];
            kernels.download(&kernels.likeliest(&made.narrow(0, whole, drawn)?)?, &mut places)?;
            likeliest.extend(places.iter().map(|place| (*place != u32::MAX).then_some(*place)));
        }
        if whole > 0 {
            kernels.download(&made.narrow(0, 0, whole)?, out)?;
        }
        Ok(out)
    }

    /// The rows of tokens, `[tokens, hidden]`.
    fn embed(&self, tokens: &[u32], workspace: &mut Workspace) -> Result<Tensor> {
        match (&self.embedding, &self.head) {
            (Rows::Head, Some(head)) => {
                head.rows(&Tensor::from_slice(tokens, tokens.len(), &self.device)?)
            }
            (Rows::File(embedding), _) => {
                let rows = workspace.stream(tokens.len() * self.config.hidden);
                embedding.rows(tokens, rows)?;
                Tensor::from_slice(rows, (tokens.len(), self.config.hidden), &self.device)
            }
            (Rows::Handed, _) => {
                let rows = workspace.stream(tokens.len() * self.config.hidden);
                Tensor::from_slice(rows, (tokens.len(), self.config.hidden), &self.device)
            }
            (Rows::Head, None) => candle_core::bail!("a model without a head has no rows in it"),
        }
    }
}
