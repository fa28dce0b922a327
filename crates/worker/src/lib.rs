//! # worker: the loop between queue and engine
//!
//! Claims tasks as its models' engines have room, keeps their leases, hands text on as it is generated, and
//! records one outcome each. Knows the queue only as [`queue::Broker`] and the model only as
//! [`engine::Engine`].
//!
//! ## Layout
//!
//! | module      | what it does |
//! |-------------|--------------|
//! | [`options`] | what a worker must be told |
//! | [`models`]  | the models that it serves: loads them, and lets them go, as their tasks come |
//! | [`process`] | the worker as a process: settings, logs, signals |
//! | `pull`      | claims a model's tasks while there is room; drains on shutdown, or on an operator's order |
//! | `refuse`    | ends the tasks of a model that can't be loaded |
//! | `attempt`   | one claimed task from start to outcome |
//! | `answer`    | its text, and which of it the queue has |
//! | `pulse`     | whether the engine still computes; ends it |
//! | `lease`     | renews one lease beside the computation |
//! | `running`   | who runs now, for cancellation and the report |
//! | `report`    | tells the registry every few seconds, and hears what operators want |
//! | `translate` | the queue's words into the engine's, and back |
//! | `recommended` | sampling values of the model's makers, where a task sets none |
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
//! Nothing here waits for the compute thread, and the compute thread waits for nothing here: leases
//! are renewed while a step computes, and a slow queue never slows the model.

mod answer;
mod attempt;
mod keeper;
mod lease;
pub mod models;
pub mod options;
pub mod process;
mod pull;
mod pulse;
mod recommended;
mod refuse;
mod report;
mod running;
mod translate;
mod until;

use std::sync::Arc;
use std::time::Duration;

use protocol::WorkerId;
use queue::Broker;
use service::TaskLog;
use service::shutdown::CancellationToken;

pub use models::Models;
pub use options::Options;

/// Why a worker ended although nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The engine's thread is gone. Its tasks were given back, or come back by their leases.
    #[error("the engine has stopped; start the worker again (logs/app.log says why it stopped)")]
    EngineStopped,
    /// The device that computes is gone, or its memory ran out. Its tasks come back by their leases.
    #[error(
        "the device is lost or out of memory: {0}; tasks come back by their leases; start the worker again, \
         and look at the GPU (nvidia-smi, dmesg) if it happens again"
    )]
    DeviceLost(String),
    /// A file of the model was changed while it was served, so nothing more could be computed from it. Its tasks
    /// were given back.
    #[error("{0}; tasks that ran were given back, none was answered from the changed file")]
    ModelChanged(String),
    /// The engine's thread is there, but a step of it does not end. Its tasks were given back, or come
    /// back by their leases.
    #[error("the engine hangs: no step ended in {} s; start the worker again", .0.as_secs())]
    EngineHangs(Duration),
}

/// One worker with its models, ready to run.
pub struct Worker {
    id: WorkerId,
    broker: Arc<dyn Broker>,
    models: Models,
    options: Options,
    log: TaskLog,
    running: running::Running,
}

impl Worker {
    /// Puts the parts together; nothing happens before [`Worker::run`].
    pub fn new(broker: Arc<dyn Broker>, models: Models, options: Options, log: TaskLog) -> Self {
        let running = running::Running::default();
        Self { id: WorkerId::new(), broker, models, options, log, running }
    }

    /// Claims and runs tasks until `shutdown`, then drains: goes on with what it has for
    /// [`Options::drain`], and gives the rest back without burning an attempt. An operator's order to
    /// drain ends it too, once all that it has is done.
    ///
    /// # Errors
    /// When an engine stops by itself, or hangs.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), WorkerError> {
        let worker = Arc::new(self);
        let reporter = tokio::spawn(report::run(worker.clone()));
        let canceller = tokio::spawn(running::follow_cancellations(worker.clone()));
        let result = keeper::run(&worker, &shutdown).await;
        canceller.abort();
        reporter.abort();
        report::say_goodbye(&worker).await;
        keeper::stop(&worker.models).await;
        result
    }
}
