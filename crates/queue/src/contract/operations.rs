//! What operators do with a queue: look, pause, drain, and deal with dead letters.

use std::time::Duration;

use async_trait::async_trait;
use protocol::{Attempt, Lane, ModelId, Task, TaskError, TaskId, Timestamp, WorkerId};
use serde::{Deserialize, Serialize};

use super::BrokerError;
use crate::Submitted;

/// How long the queue remembers that an outcome was there, at least (a minute). Beyond that as long as
/// the outcome was kept, so that what is remembered never outweighs what is kept.
pub const TOMBSTONE: Duration = Duration::from_secs(60);

/// How long a dead letter is kept (7 days).
pub const DEAD_LETTER_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// At most this many dead letters are kept; beyond, the oldest go.
pub const MAX_DEAD_LETTERS: u64 = 1_000;

/// The operators' side of a [`Broker`](crate::Broker). As there, every operation is atomic and may be
/// repeated.
#[async_trait]
pub trait Operations: Send + Sync {
    /// All queues at a glance, from counters.
    async fn overview(&self) -> Result<Overview, BrokerError>;

    /// Stops (or begins again) handing out a model's tasks. Submits go on being accepted, what runs
    /// goes on running. Durable. Claimants that wait notice a resume within a second or two.
    async fn set_paused(&self, model: &ModelId, paused: bool) -> Result<(), BrokerError>;

    /// Asks a worker to drain: it learns so with its next report, claims nothing more, ends what it
    /// has and stops. Answers whether there is such a worker.
    async fn drain_worker(&self, id: WorkerId) -> Result<bool, BrokerError>;

    /// Dead letters, the latest first.
    async fn dead_letters(&self, page: &DeadLetterPage) -> Result<Vec<DeadLetter>, BrokerError>;

    /// One dead letter.
    async fn dead_letter(&self, id: TaskId) -> Result<Option<DeadLetter>, BrokerError>;

    /// Submits a dead letter's task again, as a new task with an id of its own and no bounds, and
    /// removes the letter; none when there is no such letter. The old task keeps its outcome.
    /// Repeating a replay answers with the task that the first made, as long as that is remembered.
    async fn replay(&self, id: TaskId) -> Result<Option<Submitted>, BrokerError>;

    /// Deletes dead letters; answers how many.
    async fn purge_dead_letters(&self, which: &Purge) -> Result<u64, BrokerError>;
}

/// All queues at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// When, on the broker's clock.
    pub at: Timestamp,
    /// Each model that was ever submitted to or paused, by name.
    pub queues: Vec<QueueOverview>,
    /// Bytes of all queued tasks' records.
    pub queued_bytes: u64,
    /// Dead letters that wait for an operator.
    pub dead_letters: u64,
    /// Webhooks that have yet to be delivered or given up.
    pub webhooks_pending: u64,
}

/// One model's queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueOverview {
    /// The model.
    pub model: ModelId,
    /// Whether its tasks are held back.
    pub paused: bool,
    /// Tasks that wait in each lane, in the order of [`Lane::ALL`]; without the delayed.
    pub queued: [u64; Lane::ALL.len()],
    /// Tasks that wait for their time: submitted with a delay, or resting between attempts.
    pub delayed: u64,
    /// Tasks that run.
    pub processing: u64,
    /// Tasks that the ready workers can run at once.
    pub capacity: u64,
    /// Moving average of processing times, in milliseconds; 0 while none was measured.
    pub service_ms: f64,
    /// Tasks ended so far as completed, failed and cancelled.
    pub completed: u64,
    /// See `completed`.
    pub failed: u64,
    /// See `completed`.
    pub cancelled: u64,
}

/// What operators want of a worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkerOrders {
    /// Claim nothing more, end what you have, and stop.
    pub drain: bool,
}

/// A task that used its attempts up, kept for an operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// What was asked.
    pub task: Task,
    /// The recorded end.
    pub error: TaskError,
    /// What ended each failed attempt, in order; at most the latest 32.
    pub failures: Vec<Failure>,
    /// When it was accepted.
    pub submitted_at: Timestamp,
    /// When its outcome was recorded.
    pub died_at: Timestamp,
}

/// How one attempt failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Which delivery.
    pub attempt: Attempt,
    /// Who held it.
    pub worker: WorkerId,
    /// When, on the broker's clock.
    pub at: Timestamp,
    /// What went wrong.
    pub error: TaskError,
}

/// Which dead letters to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterPage {
    /// Only those of a model.
    pub model: Option<ModelId>,
    /// Only those that died before this instant; to go on after a page, its last one's `died_at`.
    pub before: Option<Timestamp>,
    /// At most so many.
    pub limit: usize,
}

/// Which dead letters to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purge {
    /// One.
    One(TaskId),
    /// All of a model.
    Model(ModelId),
    /// All.
    All,
}
