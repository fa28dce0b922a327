//! The engine's handle for callers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use chat::Sampling;
use grammar::ConstraintError;
use tokio::sync::mpsc::unbounded_channel;

use super::compute::{Compute, Job};
use super::describe::{beside, describe, describe_plan};
use super::device::Place;
use super::embed::{EmbeddingSink, PendingEmbedding};
use super::gauges::{EngineTotals, Gauges, HaltReason};
use super::load::{DevicePlan, Loaded, load};
use super::memory::MemoryPlan;
use super::prompt::{PromptReader, ReadPrompt, ReadText};
use super::sink::Sink;
use super::stream::Stream;
use super::vision::{Projector, Vision};
use super::{EngineOptions, Generation, parts};
use crate::api::{EmbedRequest, GenerateError, ModelInfo, Request};
use crate::architecture::{ModelConfig, Part};
use crate::batch::ForwardBatch;
use crate::constrain::{Constraints, Cores, Reasoning};
use crate::kv::{PAGE_TOKENS, PageAllocator};
use crate::lora::{AdapterId, Adapters};
use crate::model::{Decoder, Workspace};
use crate::sample::recommended;
use crate::sched::{CancelFlag, Limits, Scheduler, Sequence, SequenceId, StepPlan};
use crate::speculate::{DraftModel, Speculation, Speculator};
use crate::system::GpuUse;
use crate::text::{AnswerStart, Tokenizer};
use crate::vision::{Family, Image, ResizedImage, VideoFrames};
use crate::{Checkpoint, LoadError, ModelFile};

/// A loaded model that accepts requests. Cheap to clone; dropping the last handle stops the engine.
#[derive(Debug, Clone)]
pub struct Engine(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    /// Monitors of the GPUs that it uses, if the driver supports them.
    #[cfg(feature = "cuda")]
    gpus: Vec<crate::cuda::Watch>,
    info: ModelInfo,
    sampling_defaults: Sampling,
    speculation: Speculation,
    /// The adapters' names in requests, in order.
    adapters: Vec<String>,
    devices: Vec<DevicePlan>,
    reader: PromptReader,
    constraints: Constraints,
    gauges: Arc<Gauges>,
    pages: PageAllocator,
    next_id: AtomicU64,
    /// `None` after shutdown. The thread sleeps on the receiver when it is idle.
    jobs: Mutex<Option<Sender<Box<Job>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The load of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineLoad {
    /// Running generations.
    pub running: usize,
    /// Waiting generations.
    pub waiting: usize,
    /// The maximum number of running generations.
    pub capacity: usize,
    /// Pages of the KV cache that running generations hold.
    pub held_pages: usize,
    /// Pages of the KV cache that are kept for prompts with the same beginning; they are free for others.
    pub cached_pages: usize,
    /// All pages of the KV cache.
    pub total_pages: usize,
}

impl Engine {
    /// Loads a model and starts its compute thread.
    pub fn start(model: &ModelFile, options: &EngineOptions) -> Result<Self, LoadError> {
        options.check()?;
        let places = options.device.open()?;
        let options = &options.on(&places);
        Self::start_in(model, options, |file, config, adapters| {
            parts::parts(file, config, adapters, &places, options)
        })
    }

    /// Loads a model with layers divided among devices by `divide`.
    fn start_in(
        model: &ModelFile,
        options: &EngineOptions,
        divide: impl FnOnce(
            &Checkpoint,
            &ModelConfig,
            &Adapters,
        ) -> Result<Vec<(Place, Part)>, LoadError>,
    ) -> Result<Self, LoadError> {
        let file = model.open()?;
        let config = file.config()?;
        Decoder::check(&file, &config)?;
        let tokenizer = file.tokenizer()?;
        let template = file.chat_template(&tokenizer)?;
        // Load adapters first, as they are small: their errors are reported before the weights are loaded.
        let adapters = Adapters::load(&options.adapters, &config)?;
        let adapter_names: Vec<String> = adapters.names().map(str::to_owned).collect();
        let parts = divide(&file, &config, &adapters)?;
        let projector = Projector::open(model, &config, &tokenizer, options)?;
        let vision = projector.map(|projector| projector.load(options)).transpose()?;
        let for_images = vision.as_ref().map_or(0, Vision::beside_weights);
        // Before the pages, which get their share of the remaining memory.
        let draft_model = options.open_draft_model()?;
        let draft_model =
            draft_model.map(|draft| DraftModel::load(&draft, &file, &tokenizer)).transpose()?;
        let reserved = for_images + draft_model.as_ref().map_or(0, DraftModel::kv_bytes);
        let loaded = load(&file, &config, adapters, &parts, options, reserved)?;
        let info = describe(&file, &config, &loaded, options);
        let Loaded { backend, devices, pages, context_length, states, batch } = loaded;
        let backend = backend.with_simulated_device_loss(options.lose_device_after);
        let speculation = match backend.cannot_verify() {
            Some(reason) if options.speculation != Speculation::Off => {
                tracing::info!("{}: speculation is off: {reason}", file.label());
                Speculation::Off
            }
            _ => options.speculation,
        };
        let limits = Limits { max_batch: info.max_batch, step_tokens: options.step_tokens };
        let gauges = Arc::new(Gauges::default());
        let pages_of_kv = match states {
            Some(plan) => PageAllocator::new(pages).with_states(plan),
            None => PageAllocator::new(pages),
        };
        let (jobs, inbox) = mpsc::channel();
        let compute = Compute {
            backend,
            workspace: Workspace::default(),
            plan: StepPlan::default(),
            batch: ForwardBatch::default(),
            scheduler: Scheduler::new(limits, pages_of_kv.clone()),
            sinks: HashMap::new(),
            draws: Vec::new(),
            speculator: Speculator::new(speculation, draft_model, options.draft_always),
            drafted_rows: Vec::new(),
            ends: tokenizer.ends().to_vec(),
            gauges: gauges.clone(),
            jobs: inbox,
        };
        let thread = std::thread::Builder::new()
            .name("engine-compute".to_owned())
            .spawn(move || compute.run())
            .map_err(|error| LoadError::OutOfMemory(format!("no compute thread: {error}")))?;
        tracing::info!(
            "loaded {} ({} {}, {} million weights){}: {} sequences at once{}, {} tokens each, {} \
             pages of {PAGE_TOKENS} tokens; {}",
            file.label(),
            info.architecture,
            info.quantization,
            info.parameters / 1_000_000,
            beside(&adapter_names),
            info.max_batch,
            batch.map_or(String::new(), |reason| format!(" ({reason})")),
            info.context_length,
            pages,
            describe_plan(&devices, config.layers),
        );
        let sampling_defaults = recommended(file.metadata());
        if !sampling_defaults.is_empty() {
            tracing::info!(
                "{}: its makers recommend {sampling_defaults}, for requests that say nothing",
                file.label()
            );
        }
        let is_on_cpu = parts.iter().any(|(place, _)| matches!(place, Place::Cpu));
        let cores = if is_on_cpu { Cores::for_cpu_model() } else { Cores::Spare };
        let reader = PromptReader {
            name: info.name.clone().unwrap_or_else(|| info.architecture.clone()),
            tokenizer,
            template,
            config,
            embedding_length: info.embedding_length,
            context_length,
            vision,
        };
        Ok(Self(Arc::new(Handle {
            #[cfg(feature = "cuda")]
            gpus: parts.iter().filter_map(|(place, _)| place.watch()).collect(),
            info,
            sampling_defaults,
            speculation,
            adapters: adapter_names,
            devices,
            reader,
            constraints: Constraints::new(cores),
            gauges,
            pages: pages_of_kv,
            next_id: AtomicU64::new(0),
            jobs: Mutex::new(Some(jobs)),
            thread: Mutex::new(Some(thread)),
        })))
    }

    /// Loads a model with the given number of layers per place, for tests that memory would divide differently.
    #[cfg(test)]
    pub(super) fn start_split(
        model: &ModelFile,
        options: &EngineOptions,
        places: &[Place],
        sizes: &[usize],
    ) -> Result<Self, LoadError> {
        Self::start_in(model, options, |_, _, _| {
            Ok(places.iter().cloned().zip(Part::from_sizes(sizes)).collect())
        })
    }

    /// Returns the properties of the loaded model.
    pub fn info(&self) -> &ModelInfo {
        &self.0.info
    }

    /// Returns which tokens are drafted: as the options say, or [`Speculation::Off`] if the model or the device cannot
    /// verify them exactly (full precision, formats without a kernel, recurrent layers, GPUs).
    pub fn speculation(&self) -> Speculation {
        self.0.speculation
    }

    /// Returns the adapters' names in requests.
    pub fn adapters(&self) -> &[String] {
        &self.0.adapters
    }

    /// Returns the maximum memory that it uses where it computes, summed over its devices.
    pub fn memory(&self) -> MemoryPlan {
        let plans = self.devices().iter().map(|device| device.memory);
        plans.reduce(|all, more| all.and(&more)).unwrap_or_default()
    }

    /// Returns the plan of each device, in the order in which they compute.
    pub fn devices(&self) -> &[DevicePlan] {
        &self.0.devices
    }

    /// Returns the driver's current readings of the GPUs that it uses, where available.
    pub fn gpus(&self) -> Vec<GpuUse> {
        #[cfg(feature = "cuda")]
        return self.0.gpus.iter().filter_map(crate::cuda::Watch::read).collect();
        #[cfg(not(feature = "cuda"))]
        Vec::new()
    }

    /// Returns the current load.
    pub fn load(&self) -> EngineLoad {
        let gauges = &self.0.gauges;
        let running = gauges.running.load(Ordering::Relaxed);
        let in_flight = gauges.in_flight.load(Ordering::Relaxed);
        let pages = &self.0.pages;
        EngineLoad {
            running,
            waiting: in_flight.saturating_sub(running),
            capacity: self.0.info.max_batch,
            held_pages: pages.total_pages() - pages.free_pages(),
            cached_pages: pages.cached_pages(),
            total_pages: pages.total_pages(),
        }
    }

    /// Returns the numbers of images that were encoded, and of those that were found; `None` if it sees none.
    pub fn images(&self) -> Option<(u64, u64)> {
        self.0.reader.vision.as_ref().map(|vision| vision.encoder().counts())
    }

    /// Returns the family by which it sees; `None` if it sees no images.
    pub fn vision_family(&self) -> Option<Family> {
        self.0.reader.vision.as_ref().map(|vision| vision.encoder().tower().spec().family)
    }

    /// Returns the totals since the start.
    pub fn totals(&self) -> EngineTotals {
        self.0.gauges.totals()
    }

    /// Returns the number of steps since the start. If it does not grow while sequences run or wait, a step
    /// takes long or hangs.
    pub fn steps(&self) -> u64 {
        self.0.gauges.steps.load(Ordering::Relaxed)
    }

    /// Returns whether it accepts requests.
    pub fn is_running(&self) -> bool {
        !self.0.gauges.stopped.load(Ordering::Acquire)
    }

    /// Returns the reason if the device was lost. The engine has stopped then, and the process should end
    /// too.
    pub fn lost_device(&self) -> Option<&str> {
        match self.0.gauges.halt.get() {
            Some(HaltReason::DeviceLost(problem)) => Some(problem),
            _ => None,
        }
    }

    /// Returns how the model's files were changed while the engine ran, or `None`. It has stopped then, and
    /// emits nothing of the step that noticed it.
    pub fn changed_model(&self) -> Option<&str> {
        match self.0.gauges.halt.get() {
            Some(HaltReason::ModelChanged(problem)) => Some(problem),
            _ => None,
        }
    }

    /// Returns the sampling parameters that the model's authors recommend. The engine samples as a request
    /// says; callers may fill in these values.
    pub fn sampling_defaults(&self) -> &Sampling {
        &self.0.sampling_defaults
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.0.reader.tokenizer
    }

    /// Resizes an image for a prompt, to a number of pixels between `min` and `max`; the model's bounds apply if they
    /// are `None`, and the engine's maximum in any case.
    ///
    /// # Errors
    /// If the model takes no images, the image is too narrow, or the bounds leave no size.
    pub fn resize_image(
        &self,
        image: &Image,
        min: Option<u64>,
        max: Option<u64>,
    ) -> Result<ResizedImage, GenerateError> {
        self.0.reader.vision()?.resize(image, min, max)
    }

    /// Chooses the frames of a video for a prompt, of which `times` are the times of all frames in seconds and `fps` the
    /// frames per second in the mean. A frame gets a number of pixels between `min` and `max`, as far as the model's
    /// bounds and the engine's maximum for a video allow.
    ///
    /// # Errors
    /// If the model takes no videos, the video has no frames, or its rate is no positive number.
    pub fn choose_frames(
        &self,
        times: &[f64],
        fps: f64,
        min: Option<u64>,
        max: Option<u64>,
    ) -> Result<VideoFrames, GenerateError> {
        self.0.reader.vision()?.choose_frames(times, fps, min, max)
    }

    /// Tokenizes the prompt on this thread and sends it to the compute thread. Waits until its images are encoded.
    ///
    /// # Errors
    /// If the request is invalid for the model, or the engine has stopped.
    pub fn submit(&self, request: &Request) -> Result<Generation, GenerateError> {
        self.submit_unless(request, &|| false)
    }

    /// Submits a request unless `given_up` returns true while it waits for its images.
    ///
    /// # Errors
    /// Those of [`Self::submit`], and [`GenerateError::GivenUp`].
    pub fn submit_unless(
        &self,
        request: &Request,
        given_up: &dyn Fn() -> bool,
    ) -> Result<Generation, GenerateError> {
        let handle = &*self.0;
        if !self.is_running() {
            return Err(GenerateError::Stopped);
        }
        let adapter = handle.adapter(request.adapter.as_deref())?;
        let ReadPrompt { tokens, injected, max_tokens, start } =
            handle.reader.read(request, given_up)?;
        let begin = |constraint| handle.constraints.begin(constraint, &handle.reader.tokenizer);
        let constraint = request.constraint.as_ref().map(begin).transpose();
        let refused = |error: ConstraintError| GenerateError::InvalidRequest(error.to_string());
        let constraint = constraint.map_err(refused)?;
        let thinks = constraint.is_some() && start != AnswerStart::AtFirstToken;
        let reasoning = thinks
            .then(|| Reasoning::begin(start, &handle.constraints, &handle.reader.tokenizer))
            .transpose()
            .map_err(refused)?;
        let (progress, receiver) = unbounded_channel();
        let cancel = CancelFlag::default();
        let stream = Stream::new(request, &tokens, start, &handle.reader.tokenizer, progress)
            .constrained(constraint, reasoning);
        let counts = stream.counts();
        let sequence =
            Sequence::new(handle.new_id(), tokens, max_tokens, cancel.clone(), request.deadline)
                .with_tenant(&request.tenant)
                .with_adapter(adapter)
                .with_injected(injected)
                .with_priority(request.priority);
        handle.send(Job { sequence, sink: Sink::Answer(Box::new(stream)) })?;
        Ok(Generation::new(receiver, cancel, counts, start))
    }

    /// Returns the number of tokens of a request's prompt, which is tokenized on this thread. The prompt may be longer
    /// than the context; of the request's other fields only those matter that change the prompt.
    ///
    /// # Errors
    /// Returns an error if the prompt is invalid for the model.
    pub fn count_prompt(&self, request: &Request) -> Result<usize, GenerateError> {
        self.0.reader.count(request)
    }

    /// Tokenizes a text on this thread and sends it to the compute thread, to be embedded.
    ///
    /// # Errors
    /// Returns an error if the model does not embed, or the text is invalid for it or too long.
    pub fn embed(&self, request: &EmbedRequest) -> Result<PendingEmbedding, GenerateError> {
        let handle = &*self.0;
        if !self.is_running() {
            return Err(GenerateError::Stopped);
        }
        let ReadText { tokens, injected, dimensions } = handle.reader.read_whole(request)?;
        let cancel = CancelFlag::default();
        let (sink, pending) = EmbeddingSink::new(tokens.len(), dimensions, cancel.clone());
        // It ends with its prompt, so it needs room for one token only.
        let sequence = Sequence::new(handle.new_id(), tokens, 1, cancel, request.deadline)
            .with_tenant(&request.tenant)
            .with_injected(injected)
            .with_priority(request.priority);
        handle.send(Job { sequence, sink: Sink::Embedding(sink) })?;
        Ok(pending)
    }

    /// Stops before the next step and waits for the compute thread; running generations fail with
    /// [`GenerateError::Stopped`].
    pub fn shutdown(&self) {
        self.0.shutdown();
    }
}

impl Handle {
    /// Returns the adapter with this name.
    fn adapter(&self, name: Option<&str>) -> Result<Option<AdapterId>, GenerateError> {
        let Some(name) = name else { return Ok(None) };
        match self.adapters.iter().position(|adapter| adapter == name) {
            Some(place) => Ok(Some(AdapterId::new(place))),
            None => Err(GenerateError::InvalidRequest(format!(
                "there is no adapter {name:?}; {}",
                match self.adapters.as_slice() {
                    [] => "none is loaded".to_owned(),
                    names => format!("there are {}", names.join(", ")),
                }
            ))),
        }
    }

    fn new_id(&self) -> SequenceId {
        SequenceId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    fn send(&self, job: Job) -> Result<(), GenerateError> {
        self.gauges.in_flight.fetch_add(1, Ordering::Relaxed);
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        match jobs.as_ref().map(|jobs| jobs.send(Box::new(job))) {
            Some(Ok(())) => Ok(()),
            _ => {
                self.gauges.in_flight.fetch_sub(1, Ordering::Relaxed);
                Err(GenerateError::Stopped)
            }
        }
    }

    fn shutdown(&self) {
        self.gauges.stop.store(true, Ordering::Release);
        // Wakes the thread if it sleeps.
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // Its panics were caught and reported to the waiting callers.
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shutdown();
    }
}
