//! The models that a worker serves, and which of them are in memory.
//!
//! | module   | what it does |
//! |----------|--------------|
//! | `load`   | finds, downloads and loads a model |
//! | `identity` | hashes the files of a loaded model |
//! | `memory` | divides the memory among the models, once; pure |

mod identity;
mod load;
mod memory;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use engine::content::ContentFiles;
use engine::source::SourceError;
use engine::system::GpuUse;
use engine::{Engine, EngineOptions, LoadError, ModelFile, Survey};
use protocol::{ErrorType, ModelId, ModelReport, ModelState, TaskError, VisionFamily};
use service::Settings;
use tokio::sync::Semaphore;

use crate::{measure, translate};

pub(crate) use identity::Identity;
pub use load::source_options;

/// The reason why the models cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A model cannot be found or downloaded.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A model cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A model does not fit into memory, even alone.
    #[error(
        "the model {model} needs at least {} MiB of memory, {} MiB are {which}: set MAX_BATCH_SIZE or \
         KV_TOKENS lower, choose a smaller model or a smaller quantization{more}",
        needs.div_ceil(1 << 20), budget >> 20
    )]
    TooLarge {
        /// The model.
        model: ModelId,
        /// Needed bytes.
        needs: usize,
        /// Available bytes.
        budget: usize,
        /// Describes where the available bytes come from.
        which: &'static str,
        /// Further advice for the message.
        more: &'static str,
    },
}

/// The models that a worker serves.
#[derive(Debug)]
pub struct Models {
    /// At least one; the first is the default.
    pub(crate) served: Vec<Arc<Served>>,
    /// Maximum memory of all models in memory, in bytes.
    pub(crate) budget: usize,
    /// The minimum time that a model stays in memory while it has tasks.
    pub(crate) turn: Duration,
    /// The name of the compute device.
    pub(crate) device: String,
}

/// A served model.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) id: ModelId,
    pub(crate) file: ModelFile,
    pub(crate) options: EngineOptions,
    pub(crate) quantization: String,
    /// Memory that it takes while it is loaded, in bytes.
    pub(crate) need: usize,
    /// The number of tasks that it runs at once: an estimate before the first load, then the
    /// engine's number.
    pub(crate) capacity: AtomicUsize,
    /// The maximum length of a sequence in tokens, once it was loaded.
    context_length: OnceLock<u32>,
    /// The family by which it sees, if it takes images, once it was loaded.
    family: OnceLock<Option<VisionFamily>>,
    /// One permit per task that it can run at once.
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) place: Mutex<Place>,
    /// Whether its files are hashed, for the result cache.
    is_hashed: bool,
    /// Its files as they were before the latest load.
    files: Mutex<Option<ContentFiles>>,
}

/// The state of a model.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) state: ModelState,
    /// The engine, while it is in memory.
    pub(crate) engine: Option<Engine>,
    /// The duration of its latest load.
    pub(crate) took: Option<Duration>,
    /// The time when it was loaded, and the time when it last had tasks.
    pub(crate) since: Instant,
    pub(crate) used: Instant,
    /// The time when the queue was last asked for its tasks; at first when it was loaded.
    pub(crate) asked: Instant,
    /// The reason why its latest load failed, if it did.
    pub(crate) problem: Option<TaskError>,
    /// What its files contained when it was loaded.
    pub(crate) identity: Identity,
}

impl Models {
    /// Finds all models, downloads missing ones, reads their metadata, divides the memory among
    /// them, and loads the first. Blocks.
    ///
    /// # Errors
    /// If a model cannot be found, downloaded or read, or does not fit into memory. The message
    /// says what to do.
    pub fn open(settings: &Settings) -> Result<Self, ModelError> {
        let options = load::engine_options(settings)?;
        let mut found = Vec::new();
        for (name, id) in settings.model_names.iter().zip(settings.model_ids()) {
            let file = load::find(name, settings)?;
            // Adapters, the projector and the draft model belong to the first model.
            let options = match found.is_empty() {
                true => EngineOptions {
                    adapters: load::adapters(settings)?,
                    projector: settings.projector.clone(),
                    draft_model: load::draft_model(settings)?,
                    ..options.clone()
                },
                false => options.clone(),
            };
            let survey = Survey::of(&file, &options)?;
            found.push((id, file, options, survey));
        }
        let known = settings.max_model_bytes.or_else(|| options.device.available_memory());
        let surveys: Vec<Survey> = found.iter().map(|(.., survey)| survey.clone()).collect();
        let set = options.kv_tokens.is_some();
        let budget = known.unwrap_or(usize::MAX);
        let shares = memory::divide(budget, &surveys, set).map_err(|error| {
            let (which, more) = match settings.max_model_bytes {
                Some(_) => ("allowed by MAX_MODEL_BYTES", ", or set MAX_MODEL_BYTES higher"),
                None => ("free", ", or free some"),
            };
            let model = found[error.place].0.clone();
            ModelError::TooLarge { model, needs: error.needs, budget, which, more }
        })?;
        // A worker's only model measures the free memory again after its weights are loaded.
        let counts_itself =
            budget == usize::MAX || found.len() == 1 && settings.max_model_bytes.is_none();
        let served = found.into_iter().zip(shares).map(|((id, file, options, survey), share)| {
            let kv_tokens =
                if counts_itself { options.kv_tokens } else { Some(share.tokens.max(2)) };
            let options = EngineOptions { kv_tokens, ..options };
            let capacity = survey.batch_within(share.tokens);
            let served = Served::new(id, file, options, survey.quantization, share.bytes, capacity);
            Arc::new(Served { is_hashed: settings.result_cache, ..served })
        });
        let mut models = Self {
            served: served.collect(),
            budget,
            turn: settings.model_turn,
            device: String::new(),
        };
        models.log_memory_plan();
        if let Some(first) = models.served.first() {
            let engine = first.load()?;
            models.device = engine.0.info().device.clone();
            first.loaded(engine);
        }
        Ok(models)
    }

    /// Returns all models, the default first.
    pub(crate) fn all(&self) -> &[Arc<Served>] {
        &self.served
    }

    /// Returns the name of the compute device.
    pub(crate) fn device(&self) -> &str {
        &self.device
    }

    /// Returns the driver's readings of the GPUs that the engines use, each once.
    pub(crate) fn gpus(&self) -> Vec<GpuUse> {
        let engines = self.served.iter().filter_map(|served| served.engine());
        let mut gpus: Vec<GpuUse> = engines.flat_map(|engine| engine.gpus()).collect();
        gpus.sort_by_key(|gpu| gpu.id);
        gpus.dedup_by_key(|gpu| gpu.id);
        gpus
    }

    fn log_memory_plan(&self) {
        if self.served.len() < 2 {
            return;
        }
        let mib = |bytes: usize| bytes.div_ceil(1 << 20);
        let needs: Vec<String> =
            self.served.iter().map(|one| format!("{} {} MiB", one.id, mib(one.need))).collect();
        let sum = self.served.iter().map(|one| one.need).fold(0, usize::saturating_add);
        let fit = if sum <= self.budget { "all fit" } else { "they take turns" };
        tracing::info!(
            target: "worker.model",
            "{} models in {} MiB: {}; {fit}", self.served.len(), mib(self.budget), needs.join(", ")
        );
    }
}

impl Served {
    fn new(
        id: ModelId,
        file: ModelFile,
        options: EngineOptions,
        quantization: String,
        need: usize,
        capacity: usize,
    ) -> Self {
        let slots = Arc::new(Semaphore::new(capacity));
        let capacity = AtomicUsize::new(capacity);
        let now = Instant::now();
        let place = Place {
            state: ModelState::Unloaded,
            engine: None,
            took: None,
            since: now,
            used: now,
            asked: now,
            problem: None,
            identity: Identity::default(),
        };
        Self {
            id,
            file,
            options,
            quantization,
            need,
            capacity,
            context_length: OnceLock::new(),
            family: OnceLock::new(),
            slots,
            place: Mutex::new(place),
            is_hashed: false,
            files: Mutex::default(),
        }
    }

    /// Returns the engine while it is in memory.
    pub(crate) fn engine(&self) -> Option<Engine> {
        self.place().engine.clone()
    }

    /// Returns the names whose tasks it runs: its own and its adapters'.
    pub(crate) fn names(&self) -> Vec<ModelId> {
        let adapters = self.options.adapters.iter().map(|adapter| ModelId::new(&adapter.name));
        std::iter::once(self.id.clone()).chain(adapters).collect()
    }

    /// Returns how many tasks it runs at once, including its adapters'.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity.load(Ordering::Relaxed)
    }

    /// Returns how many of its tasks run now, including its adapters'.
    pub(crate) fn running(&self) -> usize {
        self.capacity().saturating_sub(self.slots.available_permits())
    }

    /// Sets the number of slots to the engine's choice. No task runs yet, so all slots are free.
    fn set_capacity(&self, capacity: usize) {
        let before = self.capacity.swap(capacity, Ordering::Relaxed);
        if capacity > before {
            self.slots.add_permits(capacity - before);
        } else {
            self.slots.forget_permits(before - capacity);
        }
    }

    /// Returns its report and its adapters' for the registry.
    pub(crate) fn reports(&self) -> Vec<ModelReport> {
        let base = self.report();
        let adapter = |name: ModelId| ModelReport {
            model: name,
            parent: Some(self.id.clone()),
            ..base.clone()
        };
        let adapters: Vec<ModelReport> = self.names().into_iter().skip(1).map(adapter).collect();
        std::iter::once(base).chain(adapters).collect()
    }

    fn report(&self) -> ModelReport {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let place = self.place();
        let failed = place.state == ModelState::Failed;
        ModelReport {
            model: self.id.clone(),
            parent: None,
            quantization: self.quantization.clone(),
            state: place.state,
            running: count(self.running()),
            capacity: if failed { 0 } else { count(self.capacity()) },
            context_length: self.context_length.get().copied(),
            images: self.family.get().map(Option::is_some),
            family: self.family.get().copied().flatten(),
            memory_bytes: self.need as u64,
            load_ms: place.took.map(millis),
            since_claim_ms: place.state.is_loaded().then(|| millis(place.asked.elapsed())),
            problem: place.problem.as_ref().map(|problem| problem.message.clone()),
        }
    }

    /// Loads it on the current thread, and returns the engine and the load time.
    pub(crate) fn load(&self) -> Result<(Engine, Duration), LoadError> {
        let began = Instant::now();
        if self.is_hashed {
            let files = ContentFiles::of(&self.file, &self.options);
            let files = files.inspect_err(|error| identity::unknown(&self.id, error));
            *self.files.lock().unwrap_or_else(PoisonError::into_inner) = files.ok();
        }
        Ok((load::start(&self.id, &self.file, &self.options)?, began.elapsed()))
    }

    /// Records a successful load.
    pub(crate) fn loaded(&self, (engine, took): (Engine, Duration)) {
        measure::loaded(&self.id, took);
        self.set_capacity(engine.info().max_batch);
        let context = u32::try_from(engine.info().context_length).unwrap_or(u32::MAX);
        self.context_length.get_or_init(|| context);
        self.family.get_or_init(|| engine.vision_family().map(translate::family));
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner).take();
        let identity = files.map(|files| Identity::of(&self.id, files)).unwrap_or_default();
        let now = Instant::now();
        *self.place() = Place {
            state: ModelState::Loaded,
            engine: Some(engine),
            took: Some(took),
            since: now,
            used: now,
            asked: now,
            problem: None,
            identity,
        };
    }

    /// Records that the queue is asked for its tasks now.
    pub(crate) fn asks(&self) {
        self.place().asked = Instant::now();
    }

    pub(crate) fn set_state(&self, state: ModelState) {
        let mut place = self.place();
        place.state = state;
        if state != ModelState::Failed {
            place.problem = None;
        }
    }

    /// Records a failed load, and returns the error for its tasks.
    pub(crate) fn failed(&self, error: &LoadError) -> TaskError {
        let error_type = match error {
            LoadError::OutOfMemory(_) => ErrorType::OutOfMemory,
            _ => ErrorType::EngineError,
        };
        let problem = TaskError::new(
            error_type,
            format!("the model {} could not be loaded: {error}", self.id),
        );
        let mut place = self.place();
        place.state = ModelState::Failed;
        place.problem = Some(problem.clone());
        problem
    }

    pub(crate) fn place(&self) -> MutexGuard<'_, Place> {
        // No operation can leave the value inconsistent, so a poisoned lock is usable.
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
