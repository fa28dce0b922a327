//! The engine as its callers see it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use tokio::sync::mpsc::unbounded_channel;

use super::compute::{Compute, Gauges, Job};
use super::embed::{EmbeddingSink, PendingEmbedding};
use super::memory::{Held, MemoryPlan};
use super::prompt::PromptReader;
use super::sink::Sink;
use super::stream::Stream;
use super::{EngineOptions, Generation};
use crate::api::{EmbedRequest, GenerateError, ModelInfo, Request};
use crate::batch::ForwardBatch;
use crate::constrain::Constraints;
use crate::gguf::tensor_type;
use crate::kv::{KvPlan, KvPool, KvType, PAGE_TOKENS, PageAllocator};
use crate::model::{Decoder, ModelConfig, Workspace};
use crate::sched::{CancelFlag, Limits, Scheduler, Sequence, SequenceId, StepPlan};
use crate::text::Tokenizer;
use crate::weights::is_full_precision;
use crate::{Checkpoint, LoadError, ModelFile};

/// A loaded model that takes requests. Cheap to clone; when the last handle goes, so does the
/// engine.
#[derive(Debug, Clone)]
pub struct Engine(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    info: ModelInfo,
    memory: MemoryPlan,
    reader: PromptReader,
    constraints: Constraints,
    gauges: Arc<Gauges>,
    next_id: AtomicU64,
    /// `None` once shut down. The thread sleeps on the other end when it is idle.
    jobs: Mutex<Option<Sender<Box<Job>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// How busy an engine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineLoad {
    /// Generations that compute.
    pub running: usize,
    /// Generations that wait for room.
    pub waiting: usize,
    /// How many can run at once.
    pub capacity: usize,
}

/// What an engine did since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineTotals {
    /// Tokens of prompts that were computed; those that a preemption cost are counted again.
    pub computed_prompt_tokens: u64,
    /// Tokens of prompts that were found computed already.
    pub cached_prompt_tokens: u64,
    /// How often a generation had to wait again because the memory for keys and values was used up.
    pub preemptions: u64,
}

impl Engine {
    /// Loads a model and starts its compute thread.
    pub fn start(model: &ModelFile, options: &EngineOptions) -> Result<Self, LoadError> {
        options.check()?;
        options.device.check()?;
        let file = model.open()?;
        let config = file.config()?;
        let tokenizer = file.tokenizer()?;
        let template = file.chat_template(&tokenizer)?;
        let model = Decoder::load(&file)?;
        if options.warm_up {
            model.warm_up().map_err(|error| LoadError::Compute {
                file: file.label().to_owned(),
                problem: error.to_string(),
            })?;
        }
        // After the weights, so that the pages get their share of what is left.
        let shape = config.kv_shape(kv_type(&file));
        let (memory, plan) = MemoryPlan::new(&file, &config, shape, options, Held::now())?;
        let info = describe(&file, &config, &plan, options);
        let pages = PageAllocator::new(plan.pages);
        let limits = Limits { max_batch: options.max_batch, step_tokens: options.step_tokens };
        let gauges = Arc::new(Gauges::default());
        let (jobs, inbox) = mpsc::channel();
        let compute = Compute {
            model,
            pool: KvPool::new(shape, plan.pages),
            workspace: Workspace::default(),
            plan: StepPlan::default(),
            batch: ForwardBatch::default(),
            scheduler: Scheduler::new(limits, pages),
            sinks: HashMap::new(),
            draws: Vec::new(),
            ends: tokenizer.ends().to_vec(),
            gauges: gauges.clone(),
            jobs: inbox,
        };
        let thread = std::thread::Builder::new()
            .name("engine-compute".to_owned())
            .spawn(move || compute.run())
            .map_err(|error| LoadError::OutOfMemory(format!("no compute thread: {error}")))?;
        tracing::info!(
            "loaded {} ({} {}, {} million weights): {} sequences at once, {} tokens each, {} \
             pages of {PAGE_TOKENS} tokens; {memory}",
            file.label(),
            info.architecture,
            info.quantization,
            info.parameters / 1_000_000,
            info.max_batch,
            info.context_length,
            plan.pages,
        );
        let reader = PromptReader {
            tokenizer,
            template,
            vocab: config.vocab,
            embedding_length: info.embedding_length,
            context_length: plan.context_length,
        };
        Ok(Self(Arc::new(Handle {
            info,
            memory,
            reader,
            constraints: Constraints::default(),
            gauges,
            next_id: AtomicU64::new(0),
            jobs: Mutex::new(Some(jobs)),
            thread: Mutex::new(Some(thread)),
        })))
    }

    /// What was loaded.
    pub fn info(&self) -> &ModelInfo {
        &self.0.info
    }

    /// What its process will take of the machine's memory at most.
    pub fn memory(&self) -> MemoryPlan {
        self.0.memory
    }

    /// How busy it is.
    pub fn load(&self) -> EngineLoad {
        let gauges = &self.0.gauges;
        let running = gauges.running.load(Ordering::Relaxed);
        let in_flight = gauges.in_flight.load(Ordering::Relaxed);
        EngineLoad {
            running,
            waiting: in_flight.saturating_sub(running),
            capacity: self.0.info.max_batch,
        }
    }

    /// What it did since the start.
    pub fn totals(&self) -> EngineTotals {
        let gauges = &self.0.gauges;
        EngineTotals {
            computed_prompt_tokens: gauges.computed_prompt_tokens.load(Ordering::Relaxed),
            cached_prompt_tokens: gauges.cached_prompt_tokens.load(Ordering::Relaxed),
            preemptions: gauges.preemptions.load(Ordering::Relaxed),
        }
    }

    /// Steps since the start. While something runs or waits, a count that stands still means a step
    /// that takes long, or hangs.
    pub fn steps(&self) -> u64 {
        self.0.gauges.steps.load(Ordering::Relaxed)
    }

    /// Whether it takes requests.
    pub fn is_running(&self) -> bool {
        !self.0.gauges.stopped.load(Ordering::Acquire)
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.0.reader.tokenizer
    }

    /// Reads the prompt on this thread and hands it to the compute thread.
    pub fn submit(&self, request: &Request) -> Result<Generation, GenerateError> {
        let handle = &*self.0;
        if !self.is_running() {
            return Err(GenerateError::Stopped);
        }
        let (tokens, max_tokens) = handle.reader.read(request)?;
        let begin = |constraint| handle.constraints.begin(constraint, &handle.reader.tokenizer);
        let constraint = request.constraint.as_ref().map(begin).transpose();
        let constraint =
            constraint.map_err(|error| GenerateError::InvalidRequest(error.to_string()))?;
        let prompt_tokens = tokens.len();
        let in_reasoning = handle.reader.opens_reasoning(&tokens);
        let (progress, receiver) = unbounded_channel();
        let cancel = CancelFlag::default();
        let stream = Stream::new(request, &tokens, &handle.reader.tokenizer, progress)
            .constrained(constraint);
        let sequence =
            Sequence::new(handle.new_id(), tokens, max_tokens, cancel.clone(), request.deadline)
                .of_tenant(&request.tenant)
                .with_priority(request.priority);
        handle.send(Job { sequence, sink: Sink::Answer(Box::new(stream)) })?;
        Ok(Generation::new(receiver, cancel, prompt_tokens, in_reasoning))
    }

    /// Reads a text on this thread and hands it to the compute thread, to be embedded.
    ///
    /// # Errors
    /// When the model is none that embeds, or the text makes no sense to it or is too long.
    pub fn embed(&self, request: &EmbedRequest) -> Result<PendingEmbedding, GenerateError> {
        let handle = &*self.0;
        if !self.is_running() {
            return Err(GenerateError::Stopped);
        }
        let (tokens, dimensions) = handle.reader.read_whole(request)?;
        let cancel = CancelFlag::default();
        let (sink, pending) = EmbeddingSink::new(tokens.len(), dimensions, cancel.clone());
        // It ends with its prompt, so it needs room for nothing else.
        let sequence = Sequence::new(handle.new_id(), tokens, 1, cancel, request.deadline)
            .of_tenant(&request.tenant)
            .with_priority(request.priority);
        handle.send(Job { sequence, sink: Sink::Embedding(sink) })?;
        Ok(pending)
    }

    /// Stops before the next step and waits for it; running generations fail with
    /// [`GenerateError::Stopped`].
    pub fn shutdown(&self) {
        self.0.shutdown();
    }
}

impl Handle {
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
            // Its panics were caught and told to whoever waited.
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// Exact keys and values only where the weights are exact too.
fn kv_type(file: &Checkpoint) -> KvType {
    if file.matrix_formats().all(is_full_precision) { KvType::F32 } else { KvType::F16 }
}

fn describe(
    file: &Checkpoint,
    config: &ModelConfig,
    plan: &KvPlan,
    options: &EngineOptions,
) -> ModelInfo {
    let mut bytes_by_type: HashMap<String, usize> = HashMap::new();
    for tensor in file.stored() {
        *bytes_by_type.entry(tensor_type::name_of(tensor.dtype)).or_default() += tensor.bytes;
    }
    let commonest = bytes_by_type.into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(&a.0)));
    ModelInfo {
        architecture: config.architecture.name().to_owned(),
        name: file.metadata().get::<&str>("general.name").ok().flatten().map(str::to_owned),
        quantization: commonest.map_or_else(String::new, |(name, _)| name),
        parameters: file.parameters(),
        context_length: plan.context_length,
        device: "cpu".to_owned(),
        max_batch: options.max_batch,
        embedding_length: config.pooling.map(|_| config.hidden),
    }
}
