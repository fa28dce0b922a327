//! Plans the memory of an engine: computed once, at start.

use std::fmt;

use super::device::Place;
use super::{DeviceChoice, EngineOptions};
use crate::kv::{KvPlan, KvShape, PAGE_TOKENS, StatePlan};
use crate::model::{ModelConfig, Workspace};
use crate::{LoadError, system};

/// Room for requests' data (prompts, page tables, texts), for code that has not run yet, and for the
/// allocator's overhead.
pub(super) const ROOM: usize = 64 << 20;

/// The fraction of the machine's memory left by weights and workspace that keys and values may use, unless it
/// is set: other programs need memory too.
pub(super) const CPU_SHARE: (usize, usize) = (1, 3);
/// The same for a GPU's memory, which the worker has to itself.
pub(super) const GPU_SHARE: (usize, usize) = (9, 10);

/// The maximum memory that a process with one engine uses where it computes (the machine's or the GPU's), in
/// bytes: computed once after the weights are loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct MemoryPlan {
    /// The model's tensors, without the embedding, whose rows are read from its file; if it is also the head,
    /// it is included.
    pub weights: usize,
    /// The adapters.
    pub adapters: usize,
    /// Keys and values if every page is in use.
    pub keys_and_values: usize,
    /// The recurrent states of all sequences and checkpoints, in hybrid models.
    pub states: usize,
    /// The activations of the largest step, and the logits.
    pub workspace: usize,
    /// Everything else: the program, the tokenizer, requests, and weights kept in another form than the
    /// file's.
    pub rest: usize,
    /// The sum, or the peak of loading if that is larger.
    pub total: usize,
}

/// The memory in use where the engine computes after the weights are loaded, in bytes, if the system reports
/// it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    /// Free memory.
    pub(super) available: Option<usize>,
    /// Memory in use now.
    pub(super) resident: Option<usize>,
    /// Peak memory so far.
    pub(super) peak: Option<usize>,
    /// The fraction of the free memory left by the workspace that keys and values may use, unless it is set.
    pub(super) share: (usize, usize),
}

impl Default for Held {
    /// Returns unknown values.
    fn default() -> Self {
        Self { available: None, resident: None, peak: None, share: CPU_SHARE }
    }
}

impl Held {
    /// Queries the system.
    pub(super) fn now() -> Self {
        Self {
            available: system::available_memory(),
            resident: system::resident_memory(),
            peak: system::peak_memory(),
            ..Self::default()
        }
    }

    /// Counts bytes that will be used as if they were in use.
    pub(super) fn with_reserved(self, bytes: usize) -> Self {
        Self {
            available: self.available.map(|free| free.saturating_sub(bytes)),
            resident: self.resident.map(|resident| resident.saturating_add(bytes)),
            ..self
        }
    }

    /// Returns the values of a device with that many free bytes. Reserves memory for kernels' code and for temporary buffers of products.
    #[cfg(feature = "cuda")]
    pub(super) fn on_device(free: Option<usize>) -> Self {
        const RESERVED_BYTES: usize = 512 << 20;
        let available = free.map(|free| free.saturating_sub(RESERVED_BYTES));
        Self { available, share: GPU_SHARE, ..Self::default() }
    }
}

/// The memory of a model's weights on a device, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct ModelBytes {
    /// Weights.
    pub(super) weights: usize,
    /// Adapters.
    pub(super) adapters: usize,
}

impl MemoryPlan {
    /// Computes the plan after the weights are loaded and the number of pages is fixed.
    pub(super) fn new(
        ModelBytes { weights, adapters }: ModelBytes,
        workspace: usize,
        keys_and_values: usize,
        held: Held,
    ) -> Self {
        let rest = held.resident.map_or(0, |bytes| bytes.saturating_sub(weights + adapters)) + ROOM;
        let parts = [weights, adapters, keys_and_values, workspace, rest];
        let sum = parts.into_iter().fold(0, usize::saturating_add);
        let total = sum.max(held.peak.unwrap_or(0));
        Self { weights, adapters, keys_and_values, states: 0, workspace, rest, total }
    }

    /// Adds the bytes of recurrent states.
    pub(super) fn with_states(self, states: usize) -> Self {
        Self { states, total: self.total.saturating_add(states), ..self }
    }

    /// Returns the sum of both.
    pub(super) fn and(self, other: &Self) -> Self {
        Self {
            weights: self.weights.saturating_add(other.weights),
            adapters: self.adapters.saturating_add(other.adapters),
            keys_and_values: self.keys_and_values.saturating_add(other.keys_and_values),
            states: self.states.saturating_add(other.states),
            workspace: self.workspace.saturating_add(other.workspace),
            rest: self.rest.saturating_add(other.rest),
            total: self.total.saturating_add(other.total),
        }
    }
}

/// Returns what keys, values and recurrent states may use of the free memory, unless it is set.
fn share(config: &ModelConfig, options: &EngineOptions, held: Held) -> usize {
    let (part, whole) = held.share;
    let workspace = workspace_bytes(config, options);
    let left = held.available.map(|bytes| bytes.saturating_sub(workspace));
    left.map_or(1 << 30, |bytes| bytes / whole * part)
}

/// Returns the slots of recurrent state that fit into the memory free after the weights are loaded, or `None` if the
/// model has none.
pub(super) fn states(
    config: &ModelConfig,
    options: &EngineOptions,
    held: Held,
) -> Option<StatePlan> {
    let shape = config.state_shape(0..config.layers)?;
    Some(StatePlan::new(shape, options.max_batch, share(config, options, held)))
}

/// Returns the number of pages that fit into the memory free after the weights are loaded. Unless `kv_tokens`
/// is set, they get a share (a third on the CPU, nine tenths on a GPU) of what the workspace leaves.
///
/// # Errors
/// Returns an error if more is set than is free.
pub(super) fn pages(
    config: &ModelConfig,
    shape: KvShape,
    options: &EngineOptions,
    held: Held,
    states: Option<StatePlan>,
) -> Result<KvPlan, LoadError> {
    let workspace = workspace_bytes(config, options);
    let states = states.map_or(0, |plan| plan.bytes);
    let share = share(config, options, held).saturating_sub(states);
    let context = context_length(config, options);
    let kv = KvPlan::new(shape, context, options.max_batch, options.kv_tokens, share);
    if let Some(free) = held.available
        && kv.bytes.saturating_add(workspace).saturating_add(states) > free
    {
        return Err(LoadError::OutOfMemory(format!(
            "keys and values of {} tokens need {} MiB, {}the workspace {} MiB, {} MiB are free; \
             set kv_tokens lower",
            kv.pages * PAGE_TOKENS,
            kv.bytes >> 20,
            if states > 0 {
                format!("recurrent states {} MiB, ", states >> 20)
            } else {
                String::new()
            },
            workspace >> 20,
            free >> 20,
        )));
    }
    Ok(kv)
}

/// Returns the maximum tokens of one sequence, if memory suffices.
pub(super) fn context_length(config: &ModelConfig, options: &EngineOptions) -> usize {
    config.context_length.min(options.context_limit.unwrap_or(usize::MAX))
}

/// Returns the bytes of the activations of the largest step.
pub(super) fn workspace_bytes(config: &ModelConfig, options: &EngineOptions) -> usize {
    let step_tokens = options.step_tokens.max(options.max_batch + PAGE_TOKENS);
    Workspace::bytes(config, step_tokens, options.logit_rows())
}

impl fmt::Display for MemoryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: usize| bytes.div_ceil(1 << 20);
        write!(f, "{} MiB of weights, ", mib(self.weights))?;
        if self.adapters > 0 {
            write!(f, "{} MiB of adapters, ", mib(self.adapters))?;
        }
        if self.states > 0 {
            write!(f, "{} MiB of recurrent states, ", mib(self.states))?;
        }
        write!(
            f,
            "{} MiB of keys and values, {} MiB of workspace, {} MiB for the rest: at \
             most {} MiB in all",
            mib(self.keys_and_values),
            mib(self.workspace),
            mib(self.rest),
            mib(self.total),
        )
    }
}

impl DeviceChoice {
    /// The memory in bytes that models may take on all its devices together: the machine's free memory,
    /// and what is free on GPUs beyond what kernels need. `None` if the system does not report it.
    pub fn available_memory(&self) -> Option<usize> {
        let places = self.open().ok()?;
        let free = places.iter().map(available_on);
        free.reduce(|sum, more| Some(sum?.saturating_add(more?)))?
    }
}

/// The memory in bytes that models may take on one device, or `None` if the system does not report it.
pub(super) fn available_on(place: &Place) -> Option<usize> {
    match place {
        Place::Cpu => system::available_memory(),
        #[cfg(feature = "cuda")]
        Place::Cuda(_, device) => Held::on_device(crate::cuda::free_memory(device)).available,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::KvType;

    fn file() -> crate::Checkpoint {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/qwen3");
        crate::ModelFile::Path(folder.join("qwen3-f32.gguf")).open().unwrap()
    }

    /// Returns the plan for that file once it is loaded, and its pages.
    fn plan(options: &EngineOptions, held: Held) -> Result<(MemoryPlan, KvPlan), LoadError> {
        let file = file();
        let config = file.config().unwrap();
        let kv = pages(&config, config.kv_shape(KvType::F32), options, held, None)?;
        let weighed = ModelBytes { weights: file.weight_bytes(), adapters: 0 };
        Ok((MemoryPlan::new(weighed, workspace_bytes(&config, options), kv.bytes, held), kv))
    }

    #[test]
    fn memory_plan_counts_every_item_and_refuses_models_that_do_not_fit() {
        let config = file().config().unwrap();
        let per_page = PAGE_TOKENS * config.kv_shape(KvType::F32).bytes_per_token();
        let free = |bytes| Held { available: Some(bytes), ..Held::default() };
        let (roomy, kv) = plan(&EngineOptions::default(), free(1 << 40)).unwrap();
        assert_eq!(kv.pages, (8 * config.context_length).div_ceil(PAGE_TOKENS));
        assert_eq!(roomy.keys_and_values, kv.pages * per_page);
        assert!(roomy.weights > 400_000 && roomy.weights < 2 * 494_176, "{roomy:?}");
        let sum = roomy.weights + roomy.keys_and_values + roomy.workspace + roomy.rest;
        assert_eq!(roomy.total, sum);
        assert!(roomy.to_string().ends_with("MiB in all"), "{roomy}");
        assert_eq!(roomy.and(&roomy).total, 2 * sum);
        let available = roomy.workspace + 3 * 100 * per_page;
        assert_eq!(plan(&EngineOptions::default(), free(available)).unwrap().1.pages, 100);
        let set = EngineOptions { kv_tokens: Some(400 * PAGE_TOKENS), ..EngineOptions::default() };
        let error = plan(&set, free(available)).unwrap_err().to_string();
        assert!(error.contains("set kv_tokens lower"), "{error}");
    }

    #[test]
    fn memory_plan_includes_memory_already_held_by_the_process() {
        let total = |resident, peak| {
            let held = Held { resident: Some(resident), peak: Some(peak), ..Held::default() };
            plan(&EngineOptions::default(), held).unwrap().0.total
        };
        let (little, more) = (total(100 << 20, 0), total(150 << 20, 0));
        assert_eq!(more - little, 50 << 20);
        assert_eq!(total(100 << 20, 1 << 40), 1 << 40, "loading took more than computing will");
    }
}
