//! # worker: the loop between queue and engine
//!
//! Claims tasks while its models' engines have free slots, renews their leases, publishes text as
//! it is generated, and records one outcome per task. It uses the queue only through
//! [`queue::Broker`] and the models only through [`engine::Engine`].
//!
//! ## Layout
//!
//! | module      | what it does |
//! |-------------|--------------|
//! | [`options`] | [`Options`]: the configuration |
//! | [`models`]  | the served models, and which of them are in memory |
//! | [`process`] | runs the worker as a process: settings, logs, signals |
//! | `keeper`    | loads and unloads models as their tasks arrive |
//! | `pull`      | claims a model's tasks while there are free slots; drains |
//! | `refuse`    | fails the tasks of a model that cannot be loaded |
//! | `attempt`   | runs one claimed task from start to outcome |
//! | `answers`   | the attempt's answers, and how much of them the queue has acknowledged |
//! | `answer`    | one answer: its text, parts and logprobs |
//! | `results`   | the result cache: answers of tasks for later ones that ask for the same |
//! | `measure`   | counts attempts, and reads the engines during a scrape |
//! | `pulse`     | detects an engine that hangs, and stops engines |
//! | `lease`     | renews a task's lease during the computation |
//! | `running`   | the running tasks, for cancellation and the report |
//! | `report`    | reports to the registry every few seconds, and receives operators' orders |
//! | `visuals`   | reads the images and videos of prompts from the blob store |
//! | `annotate`  | draws the marks of answers on images, and stores them |
//! | `commands`  | runs operators' commands that read answers |
//! | `translate` | converts between the queue's and the engine's types |
//!
//! ## Data flow
//!
//! ```text
//!            claim                    submit                  tokens
//! Broker ───────────▶ pull ─▶ attempt ───────▶ Engine (its own thread) ───────▶ attempt
//!    ▲                           │ lease: renew every third of a lease             │
//!    └───────── publish text, finish or release, once ◀───────────────────────────┘
//! ```
//!
//! The I/O threads and the compute threads never wait for each other: leases are renewed during a
//! step, and a slow queue never slows the model.

mod annotate;
mod answer;
mod answers;
mod attempt;
mod commands;
mod keeper;
mod lease;
mod measure;
pub mod models;
pub mod options;
pub mod process;
mod pull;
mod pulse;
mod refuse;
mod report;
mod results;
mod running;
mod translate;
mod until;
mod visuals;

use std::sync::Arc;
use std::time::Duration;

use protocol::WorkerId;
use queue::{BlobLimits, BlobStore, Broker};
use service::shutdown::CancellationToken;
use service::{TaskLog, Traces};

pub use models::Models;
pub use options::{Options, ResultCacheOptions};

/// The reason why a worker ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// An engine's thread has ended. Its tasks were returned to the queue, or return when their
    /// leases expire.
    #[error("the engine has stopped; start the worker again (logs/app.log says why it stopped)")]
    EngineStopped,
    /// The compute device is lost or out of memory. Its tasks return when their leases expire.
    #[error(
        "the device is lost or out of memory: {0}; tasks come back by their leases; start the worker again, \
         and look at the GPU (nvidia-smi, dmesg) if it happens again"
    )]
    DeviceLost(String),
    /// A model file was changed while it was served, so the engine cannot continue. Its tasks were
    /// returned to the queue.
    #[error("{0}; tasks that ran were given back, none was answered from the changed file")]
    ModelChanged(String),
    /// A step of the engine does not end. Its tasks were returned to the queue, or return when
    /// their leases expire.
    #[error("the engine hangs: no step ended in {} s; start the worker again", .0.as_secs())]
    EngineHangs(Duration),
}

/// A worker with its models. Call [`Worker::run`] to start it.
pub struct Worker {
    id: WorkerId,
    broker: Arc<dyn Broker>,
    models: Models,
    options: Options,
    log: TaskLog,
    traces: Traces,
    running: running::Running,
    visuals: visuals::VisualReader,
    blobs: BlobStore,
    commands: commands::Commands,
}

impl Worker {
    /// Creates a worker, which does nothing before [`Worker::run`]. It reads images from the broker's own blob store.
    pub fn new(broker: Arc<dyn Broker>, models: Models, options: Options, log: TaskLog) -> Self {
        let running = running::Running::default();
        let blobs = BlobStore::new(broker.clone(), BlobLimits::default());
        let visuals = visuals::VisualReader::new(blobs.clone(), &options);
        let commands = commands::Commands::new(options.skill_commands.clone());
        Self {
            id: WorkerId::new(),
            broker,
            models,
            options,
            log,
            traces: Traces::default(),
            running,
            visuals,
            blobs,
            commands,
        }
    }

    /// Sets the blob store that has the images of prompts, and takes those of answers.
    pub fn with_blobs(self, blobs: BlobStore) -> Self {
        Self { visuals: visuals::VisualReader::new(blobs.clone(), &self.options), blobs, ..self }
    }

    /// Sets the traces that attempts are part of.
    pub fn with_traces(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    /// Claims and runs tasks until `shutdown`, then drains: continues the running tasks for
    /// [`Options::drain`], and returns the rest to the queue without counting an attempt. Also ends
    /// on an operator's order to drain, once all running tasks have ended.
    ///
    /// # Errors
    /// If an engine stops without being asked to, loses its device, or hangs.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), WorkerError> {
        let worker = Arc::new(self);
        service::metrics::install().add_source(measure::source(Arc::downgrade(&worker)));
        let reporter = tokio::spawn(report::run(worker.clone()));
        let canceller = tokio::spawn(running::follow_cancellations(worker.clone()));
        let result = keeper::run(&worker, &shutdown).await;
        canceller.abort();
        reporter.abort();
        report::deregister(&worker).await;
        keeper::stop(&worker.models).await;
        result
    }
}
