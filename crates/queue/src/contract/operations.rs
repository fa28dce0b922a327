//! Operators' view of a queue: inspect, pause, drain, and handle dead letters.

use std::time::Duration;

use async_trait::async_trait;
use protocol::{Attempt, Lane, ModelId, Task, TaskError, TaskId, Timestamp, WorkerId};
use serde::{Deserialize, Serialize};

use super::BrokerError;
use crate::Submitted;

/// The minimum time for which the queue remembers that an expired outcome existed (a minute). Above
/// it, a tombstone is kept as long as the outcome was, so tombstones never outweigh outcomes.
pub const TOMBSTONE: Duration = Duration::from_secs(60);

/// The retention of dead letters (7 days).
pub const DEAD_LETTER_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The maximum number of dead letters kept; beyond it, the oldest are deleted.
pub const MAX_DEAD_LETTERS: u64 = 1_000;

/// The operators' side of a [`Broker`](crate::Broker). Every operation is atomic and idempotent.
#[async_trait]
pub trait Operations: Send + Sync {
    /// Returns an overview of all queues, from counters.
    async fn overview(&self) -> Result<Overview, BrokerError>;

    /// Pauses or resumes handing out a model's tasks. Submits are still accepted and running tasks
    /// continue. Durable. Waiting claimants notice a resume within two seconds.
    async fn set_paused(&self, model: &ModelId, paused: bool) -> Result<(), BrokerError>;

    /// Requests that a worker drain. Its next report returns the order; it then claims nothing more,
    /// finishes its tasks and stops. Returns whether the worker exists.
    async fn drain_worker(&self, id: WorkerId) -> Result<bool, BrokerError>;

    /// Returns dead letters, newest first.
    async fn dead_letters(&self, page: &DeadLetterPage) -> Result<Vec<DeadLetter>, BrokerError>;

    /// Returns one dead letter, or `None` if it does not exist.
    async fn dead_letter(&self, id: TaskId) -> Result<Option<DeadLetter>, BrokerError>;

    /// Submits a dead letter's task as a new task with a new id and without bounds, and deletes the
    /// letter. Returns `None` if there is no such letter. The old task keeps its outcome. Repeating
    /// a replay returns the task that the first one created, as long as that is stored.
    async fn replay(&self, id: TaskId) -> Result<Option<Submitted>, BrokerError>;

    /// Deletes dead letters and returns their number.
    async fn purge_dead_letters(&self, which: &Purge) -> Result<u64, BrokerError>;
}

/// An overview of all queues.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// The time of the overview, by the broker's clock.
    pub at: Timestamp,
    /// Every model that ever had a submit or a pause, by name.
    pub queues: Vec<QueueOverview>,
    /// Bytes of all queued tasks' records.
    pub queued_bytes: u64,
    /// The number of dead letters.
    pub dead_letters: u64,
    /// The number of webhooks not yet delivered or given up.
    pub webhooks_pending: u64,
}

/// One model's queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueOverview {
    /// The model.
    pub model: ModelId,
    /// `true` if its tasks are not handed out.
    pub paused: bool,
    /// Queued tasks per lane, in the order of [`Lane::ALL`], without the delayed ones.
    pub queued: [u64; Lane::ALL.len()],
    /// Delayed tasks: submitted with a delay, or in backoff between attempts.
    pub delayed: u64,
    /// Running tasks.
    pub processing: u64,
    /// The number of tasks that the ready workers can run concurrently.
    pub capacity: u64,
    /// Moving average of processing times, in milliseconds; 0 if none was measured.
    pub service_ms: f64,
    /// The number of tasks that ended as completed so far.
    pub completed: u64,
    /// The number of tasks that ended as failed so far.
    pub failed: u64,
    /// The number of tasks that ended as cancelled so far.
    pub cancelled: u64,
}

/// Operators' orders for a worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkerOrders {
    /// Claim nothing more, finish the running tasks, and stop.
    pub drain: bool,
}

/// A task that used up its attempts, kept for an operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The submitted task.
    pub task: Task,
    /// The error of the recorded outcome.
    pub error: TaskError,
    /// The failed attempts, in order; at most the latest 32.
    pub failures: Vec<Failure>,
    /// The time when it was accepted.
    pub submitted_at: Timestamp,
    /// The time when its outcome was recorded.
    pub died_at: Timestamp,
}

/// One failed attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The attempt's number.
    pub attempt: Attempt,
    /// The worker that held the lease.
    pub worker: WorkerId,
    /// The time when it failed, by the broker's clock.
    pub at: Timestamp,
    /// The error that it failed with.
    pub error: TaskError,
}

/// Selects the dead letters to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterPage {
    /// Only those of this model.
    pub model: Option<ModelId>,
    /// Only those that died before this time. For the next page, pass the last one's `died_at`.
    pub before: Option<Timestamp>,
    /// The maximum number to return.
    pub limit: usize,
}

/// Selects the dead letters to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purge {
    /// One letter.
    One(TaskId),
    /// All letters of a model.
    Model(ModelId),
    /// All letters.
    All,
}
