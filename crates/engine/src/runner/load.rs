//! Loads a model: assigns layers to devices, loads their weights, and allocates pages.

use std::collections::HashMap;

use super::EngineOptions;
use super::backend::{Backend, Stage};
use super::batch::AutoBatch;
use super::device::Place;
use super::memory::{self, Held, MemoryPlan, ModelBytes, workspace_bytes};
use crate::architecture::{ModelConfig, Part};
use crate::gguf::tensor_type;
use crate::kv::{KvPlan, KvPool, KvShape, KvType, PAGE_TOKENS, StatePlan, StateShape};
use crate::lora::Adapters;
use crate::model::Decoder;
use crate::weights::is_full_precision;
use crate::{Checkpoint, LoadError};

/// The layers and memory of a model on one device.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DevicePlan {
    /// The device, e.g. `cuda:0`.
    pub device: String,
    /// The number of layers that it computes.
    pub layers: usize,
    /// Its memory.
    pub memory: MemoryPlan,
}

/// A model that is ready to compute.
pub(super) struct Loaded {
    pub(super) backend: Backend,
    /// The plan of each device.
    pub(super) devices: Vec<DevicePlan>,
    /// The number of pages; each device has those of its layers.
    pub(super) pages: usize,
    /// The maximum tokens of one sequence, prompt and answer together.
    pub(super) context_length: usize,
    /// The slots of recurrent state, in hybrid models.
    pub(super) states: Option<StatePlan>,
    /// The explanation of the batch size, if the engine chose it.
    pub(super) batch: Option<AutoBatch>,
}

/// A part of a model whose weights are loaded, before its pages are allocated.
enum Weights {
    Cpu(Box<Decoder>),
    #[cfg(feature = "cuda")]
    Cuda {
        name: String,
        model: Box<crate::cuda::Decoder>,
        device: candle_core::Device,
    },
}

/// Loads the weights of each part to its device, and then computes the number of pages, so that they get their
/// share of the remaining memory. `parts` are all of the model's, in order. `beside` bytes of the machine's memory
/// will be used by the encoder of images and by the draft model.
pub(super) fn load(
    file: &Checkpoint,
    config: &ModelConfig,
    adapters: Adapters,
    parts: &[(Place, Part)],
    options: &EngineOptions,
    beside: usize,
) -> Result<Loaded, LoadError> {
    // With a single device, messages need not name it.
    let on = |place: &Place, error: LoadError| match error {
        LoadError::OutOfMemory(problem) if parts.len() > 1 => {
            LoadError::OutOfMemory(format!("on {place}: {problem}"))
        }
        other => other,
    };
    let layers: Vec<Part> = parts.iter().map(|(_, part)| part.clone()).collect();
    let mut loaded = Vec::new();
    for ((place, part), adapters) in parts.iter().zip(adapters.divide(&layers)) {
        let weighed = ModelBytes { weights: file.part_bytes(part), adapters: adapters.bytes() };
        let weights = Weights::load(file, place, part, adapters, options);
        loaded.push((weights.map_err(|error| on(place, error))?, weighed));
    }
    file.check_unchanged()?;
    let kv_type = kv_type(file);
    let mut counted = Vec::new();
    for ((place, part), (weights, weighed)) in parts.iter().zip(loaded) {
        let held = match place {
            Place::Cpu => weights.held().with_reserved(beside),
            #[cfg(feature = "cuda")]
            Place::Cuda(..) => weights.held(),
        };
        let shape = part.kv_shape(config, kv_type);
        let states = memory::states(config, options, held);
        let plan = memory::pages(config, shape, options, held, states);
        let plan = plan.map_err(|error| on(place, error))?;
        counted.push((weights, weighed, held, shape, states, plan));
    }
    let states = counted.iter().find_map(|(.., states, _)| *states);
    // The same number everywhere: a sequence's pages are the same in all parts.
    let fewest = counted.iter().map(|(.., plan)| *plan).min_by_key(|plan| plan.pages);
    let Some(KvPlan { pages, context_length, .. }) = fewest else {
        return Err(LoadError::InvalidOption("no device computes the model".to_owned()));
    };
    let workspace = workspace_bytes(config, options);
    let (mut stages, mut devices) = (Vec::new(), Vec::new());
    for ((place, part), (weights, weighed, held, shape, ..)) in parts.iter().zip(counted) {
        let kv_bytes = pages * PAGE_TOKENS * shape.bytes_per_token();
        devices.push(DevicePlan {
            device: place.to_string(),
            layers: part.len(),
            memory: MemoryPlan::new(weighed, workspace, kv_bytes, held)
                .with_states(states.map_or(0, |plan| plan.bytes)),
        });
        let of_part = config.state_shape(part.layers());
        let slots = of_part.zip(states.map(|plan| plan.slots()));
        let stage = weights.with_pages(shape, pages, slots);
        let mut stage = stage.map_err(|error| on(place, error))?;
        if options.warm_up {
            stage.warm_up().map_err(|error| on(place, error))?;
        }
        stages.push(stage);
    }
    let Some(last) = stages.pop() else {
        return Err(LoadError::InvalidOption("no device computes the model".to_owned()));
    };
    let on_gpus = !parts.iter().any(|(place, _)| matches!(place, Place::Cpu));
    let tokens = pages * PAGE_TOKENS;
    let batch = options.auto_batch.then_some(AutoBatch { on_gpus, tokens, context_length });
    let backend = Backend::new(stages, last);
    Ok(Loaded { backend, devices, pages, context_length, states, batch })
}

impl Weights {
    fn load(
        file: &Checkpoint,
        place: &Place,
        part: &Part,
        adapters: Adapters,
        options: &EngineOptions,
    ) -> Result<Self, LoadError> {
        match place {
            Place::Cpu => {
                let model = Decoder::load_part(file, part)?.with_adapters(adapters);
                if options.warm_up {
                    model.warm_up().map_err(|error| LoadError::Compute {
                        file: file.label().to_owned(),
                        problem: error.to_string(),
                    })?;
                }
                Ok(Self::Cpu(Box::new(model)))
            }
            #[cfg(feature = "cuda")]
            Place::Cuda(_, device) => {
                let model = crate::cuda::Decoder::load(file, device, part)?;
                let model = Box::new(model.with_adapters(&adapters)?);
                Ok(Self::Cuda { name: place.to_string(), model, device: device.clone() })
            }
        }
    }

    /// Returns the memory in use on the part's device.
    fn held(&self) -> Held {
        match self {
            Self::Cpu(_) => Held::now(),
            #[cfg(feature = "cuda")]
            Self::Cuda { device, .. } => Held::on_device(crate::cuda::free_memory(device)),
        }
    }

    /// Allocates pages beside the weights, and slots of recurrent state of a shape.
    fn with_pages(
        self,
        shape: KvShape,
        pages: usize,
        states: Option<(StateShape, usize)>,
    ) -> Result<Stage, LoadError> {
        match self {
            Self::Cpu(model) => {
                let pool = KvPool::new(shape, pages);
                let pool = match states {
                    Some((shape, slots)) => pool.with_states(shape, slots),
                    None => pool,
                };
                Ok(Stage::Cpu(model, pool))
            }
            #[cfg(feature = "cuda")]
            Self::Cuda { name, model, .. } => {
                let pages = model.pages(shape, pages)?;
                Ok(Stage::Cuda { name, model, pages })
            }
        }
    }
}

/// Returns the type of keys and values: exact only if the weights are exact too.
pub(super) fn kv_type(file: &Checkpoint) -> KvType {
    if file.matrix_formats().all(is_full_precision) { KvType::F32 } else { KvType::F16 }
}

/// Returns the most common format of the weights, by bytes.
pub(super) fn most_common_format(file: &Checkpoint) -> String {
    let mut bytes_by_type: HashMap<String, usize> = HashMap::new();
    for tensor in file.stored() {
        *bytes_by_type.entry(tensor_type::name_of(tensor.dtype)).or_default() += tensor.bytes;
    }
    let commonest = bytes_by_type.into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(&a.0)));
    commonest.map_or_else(String::new, |(name, _)| name)
}
