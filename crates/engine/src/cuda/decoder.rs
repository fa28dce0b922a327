//! The decoder on a device: tokens in, logits out.

use candle_core::{Device, Result, Tensor};

use super::layer::Layer;
use super::linear::{Linear, on_device};
use super::{load_error, multiprocessors};
use crate::architecture::{Angles, MatrixSpec, ModelConfig, Part, Rope};
use crate::batch::{ForwardBatch, Logits, SequenceRows};
use crate::kernels::cuda::{HEAD_DIMS, Kernels, Pages};
use crate::kv::KvShape;
use crate::lora::{AdaptedRows, Adapters};
use crate::model::Workspace;
use crate::weights::{Embedding, Weights};
use crate::{Checkpoint, LoadError};

/// The most query heads per KV head: the rows of a tile of f32 pages.
const MAX_HEADS_PER_KV_HEAD: usize = 16;

/// A Qwen model, or a part of its layers, on a device. It computes the same steps as
/// [`crate::model::Decoder`] and keeps no state either.
#[derive(Debug)]
pub(crate) struct Decoder {
    config: ModelConfig,
    file: String,
    device: Device,
    kernels: Kernels,
    embedding: Rows,
    layers: Vec<Layer>,
    /// The number of layers before these.
    first_layer: usize,
    /// The final norm, in the last part.
    norm: Option<Tensor>,
    /// Computes logits, in the last part; an embedding model has none.
    head: Option<Linear>,
    rope: Rope,
    angles: Angles,
    /// The number of adapters, and their largest rank.
    adapters: usize,
    max_rank: usize,
    adapted: AdaptedRows,
}

/// The source of the first layer's input rows.
#[derive(Debug)]
enum Rows {
    /// The head, in a tied model.
    Head,
    /// The file on the CPU, which saves device memory.
    File(Embedding),
    /// The part before, whose result is in the workspace.
    Handed,
}

impl Decoder {
    /// Loads the weights of a part of a checkpoint's layers to a device.
    ///
    /// # Errors
    /// When a tensor is missing or damaged, the kernels do not support the model's shape, or the
    /// device's memory is too small.
    pub(crate) fn load(
        checkpoint: &Checkpoint,
        device: &Device,
        part: &Part,
    ) -> std::result::Result<Self, LoadError> {
        let config = checkpoint.config()?;
        let file = checkpoint.label().to_owned();
        let ModelConfig { hidden, vocab, heads, kv_heads, head_dim, .. } = config;
        let unsupported = |problem| LoadError::Unsupported { file: file.clone(), problem };
        if config.delta.is_some() {
            return Err(unsupported(format!(
                "a {} model has layers with a recurrent state, which are computed on the CPU only: set MODEL_DEVICE=cpu",
                config.architecture.name
            )));
        }
        if !HEAD_DIMS.contains(&head_dim) {
            return Err(unsupported(format!(
                "its heads have {head_dim} numbers; on CUDA they may have {HEAD_DIMS:?}"
            )));
        }
        if heads / kv_heads > MAX_HEADS_PER_KV_HEAD {
            return Err(unsupported(format!(
                "{} query heads share a key head; on CUDA at most {MAX_HEADS_PER_KV_HEAD} may",
                heads / kv_heads
            )));
        }
        let failed = |error: candle_core::Error| load_error(&file, &error);
        let kernels = Kernels::new(device, multiprocessors(device)).map_err(failed)?;
        let weights = Weights::of_part(checkpoint, part);
        let own_head = weights.has_own_head();
        let head = (part.is_last() && config.pooling.is_none()).then(|| {
            let name = if own_head { "output" } else { "token_embd" };
            Linear::load(&weights, device, &MatrixSpec::new(name, vocab, hidden))
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
            let norm = weights.vector(&config.output_norm())?;
            on_device(&weights, device, norm, &[hidden])
        });
        let decoder = Self {
            embedding,
            layers,
            first_layer: part.layers().start,
            norm: norm.transpose()?,
            head: head.transpose()?,
            rope: Rope::new(&config),
            angles: Angles::default(),
            adapters: 0,
            max_rank: 0,
            adapted: AdaptedRows::default(),
            device: device.clone(),
            kernels,
            file: file.clone(),
            config,
        };
        // Reports errors of the asynchronous copies.
        decoder.kernels.synchronize().map_err(failed)?;
        Ok(decoder)
    }

    /// Adds adapters, which were loaded for this model's config and this part's layers. Batches
    /// refer to them by index.
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
        (self.adapters, self.max_rank) = (adapters.len(), adapters.max_rank());
        // Reports errors of the asynchronous copies.
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

    /// The configuration of the whole model.
    pub(crate) fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Allocates pages for keys and values on the device.
    pub(crate) fn pages(
        &self,
        shape: KvShape,
        pages: usize,
    ) -> std::result::Result<Pages, LoadError> {
        self.kernels.pages(shape, pages).map_err(|error| load_error(&self.file, &error))
    }

    /// Computes a step of one token, so that the first request does not wait for the driver's lazy
    /// initialisation. `pages` must have at least one page.
    pub(crate) fn warm_up(&mut self, pages: &Pages) -> std::result::Result<(), LoadError> {
        let allocator = crate::kv::PageAllocator::new(1);
        let mut batch = ForwardBatch::default();
        if let Some(table) = allocator.reserve(1) {
            batch.push(SequenceRows::text(&[0], 0, &table, Logits::Last));
        }
        let mut workspace = Workspace::default();
        let outcome = self.forward(&batch, pages, &mut workspace, &mut Vec::new()).map(|_| ());
        outcome.map_err(|error| load_error(&self.file, &error))
    }

    /// Computes one step. Returns the logits of `batch.logit_rows`, as
    /// [`crate::model::Decoder::forward`] does, in `workspace`: `[rows, vocab]`, f32. Appends the
    /// argmax of each of `batch.argmax_rows` to `likeliest`; `None` if no logit is above minus
    /// infinity.
    pub(crate) fn forward<'a>(
        &mut self,
        batch: &ForwardBatch,
        pages: &Pages,
        workspace: &'a mut Workspace,
        likeliest: &mut Vec<Option<u32>>,
    ) -> Result<&'a mut [f32]> {
        let ModelConfig { heads, rms_eps, .. } = self.config;
        let kernels = &self.kernels;
        // Another part's device may be current on this thread, and cuBLAS uses the current one.
        kernels.bind()?;
        self.rope.compute_angles(&batch.positions, &mut self.angles);
        let Angles { cos, sin } = &self.angles;
        let mut step = kernels.step(batch.spans(), &batch.slot_mapping, heads, pages, cos, sin)?;
        self.adapted.sort(batch, self.adapters)?;
        step.adapted = kernels.adapted_step(
            &self.adapted.plan(),
            batch.tokens.len(),
            self.adapters,
            self.max_rank,
        )?;
        let x = self.embed(batch, workspace)?;
        let mut h = kernels.rms_norm(&x, &self.layers[0].attention_norm, rms_eps)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let added = layer.attend(kernels, &self.config, pages, index, &step, &h)?;
            h = kernels.add_rms_norm(&x, &added, &layer.mlp_norm, rms_eps)?;
            let added = layer.mlp.forward(kernels, &h, step.adapted.as_ref())?;
            self.add_after(batch, self.first_layer + index, &added)?;
            let next = self.layers.get(index + 1).map(|next| &next.attention_norm);
            let Some(next) = next.or(self.norm.as_ref()) else {
                let stream = workspace.stream(x.elem_count());
                kernels.download(&(&x + &added)?, stream)?;
                return Ok(stream);
            };
            h = kernels.add_rms_norm(&x, &added, next, rms_eps)?;
        }
        let (whole, drawn) = (batch.logit_rows.len(), batch.argmax_rows.len());
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

    /// Adds to the rows of `x`, the output of a layer's feed-forward block, what injected rows have added after this
    /// layer.
    fn add_after(&self, batch: &ForwardBatch, layer: usize, x: &Tensor) -> Result<()> {
        for slice in &batch.injected {
            let Some(added) = slice.added(layer, self.config.hidden) else { continue };
            let rows = x.narrow(0, slice.rows.start, slice.rows.len())?;
            let added = Tensor::from_slice(added, rows.shape(), &self.device)?;
            x.slice_set(&(rows + added)?, 0, slice.rows.start)?;
        }
        Ok(())
    }

    /// Returns the input rows of the first layer, `[tokens, hidden]`.
    fn embed(&self, batch: &ForwardBatch, workspace: &mut Workspace) -> Result<Tensor> {
        let (tokens, hidden) = (&batch.tokens, self.config.hidden);
        match (&self.embedding, &self.head) {
            (Rows::Head, Some(head)) => {
                let ids = Tensor::from_slice(tokens, tokens.len(), &self.device)?;
                let x = head.rows(&ids)?;
                for slice in &batch.injected {
                    let shape = (slice.rows.len(), hidden);
                    let rows = Tensor::from_slice(slice.values(hidden), shape, &self.device)?;
                    x.slice_set(&rows, 0, slice.rows.start)?;
                }
                Ok(x)
            }
            (Rows::File(embedding), _) => {
                let rows = workspace.stream(tokens.len() * hidden);
                embedding.rows(tokens, rows)?;
                batch.inject(rows, hidden);
                Tensor::from_slice(rows, (tokens.len(), hidden), &self.device)
            }
            (Rows::Handed, _) => {
                let rows = workspace.stream(tokens.len() * hidden);
                Tensor::from_slice(rows, (tokens.len(), hidden), &self.device)
            }
            (Rows::Head, None) => {
                candle_core::bail!("the model has no head to read the embedding from")
            }
        }
    }
}
