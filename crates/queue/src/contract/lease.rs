//! Leases, and the values that a broker and a lease's holder exchange.

use std::time::Duration;

use protocol::{Attempt, ModelId, Task, TaskError, TaskId, TaskState, Timestamp, WorkerId};

use super::BrokerError;
use crate::retry;

/// A claiming worker, its models, and the length of its leases.
#[derive(Debug, Clone)]
pub struct Claimant {
    /// The id of this run of the worker.
    pub worker: WorkerId,
    /// The models it can run.
    pub models: Vec<ModelId>,
    /// The time until a lease expires unless renewed (`LEASE_SECONDS`).
    pub lease: Duration,
}

/// The room of a worker for further tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The number of tasks.
    pub tasks: usize,
    /// The number of these that may be of lane `batch`.
    pub batch: usize,
}

impl Room {
    /// Room for tasks of any lane.
    pub const fn for_any(tasks: usize) -> Self {
        Self { tasks, batch: tasks }
    }
}

/// A worker's time-limited right to one attempt at one task. The broker stores its expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The task.
    pub task_id: TaskId,
    /// Its holder.
    pub worker: WorkerId,
    /// The attempt.
    pub attempt: Attempt,
}

/// A task that the caller holds a lease on.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// The task to run.
    pub task: Task,
    /// The lease on it.
    pub lease: Lease,
    /// The time when the task was accepted.
    pub submitted_at: Timestamp,
    /// The time when this attempt began.
    pub started_at: Timestamp,
    /// The number of earlier failed attempts; drained ones don't count.
    pub failed_attempts: u32,
}

impl Lease {
    /// Returns the lease as `worker:attempt`, the form in which brokers store and compare it.
    pub(crate) fn fence(&self) -> String {
        format!("{}:{}", self.worker, self.attempt)
    }

    /// Returns the error for a lease that is not the current one.
    pub(crate) fn lost(&self) -> BrokerError {
        BrokerError::LeaseLost { task_id: self.task_id, attempt: self.attempt }
    }
}

impl Claimed {
    /// Returns whether the task may be retried if this attempt fails too.
    pub fn may_retry(&self) -> bool {
        self.failed_attempts + 1 < self.task.max_attempts
    }

    /// Returns the backoff before the next attempt if this one fails.
    pub fn retry_in(&self) -> Duration {
        retry::pause(self.task.retry_backoff(), self.failed_attempts + 1)
    }
}

/// The task's state that the holder of a valid lease learns from a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseState {
    /// Cancellation was requested: stop, and finish the task as cancelled.
    pub cancel_requested: bool,
}

/// The reason for returning a task to the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Release {
    /// The worker stops or can't run the task now; the attempt does not count as failed.
    Unused,
    /// The attempt failed with an error that may be transient; it counts.
    Failed {
        /// The error, for the event and for a later dead letter.
        error: TaskError,
        /// The backoff before the next attempt ([`Claimed::retry_in`]).
        retry_in: Duration,
    },
}

impl Release {
    /// Returns the reason for the `requeued` event.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Unused => "the worker released it",
            Self::Failed { error, .. } => &error.message,
        }
    }
}

/// The result of a cancel request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelReply {
    /// The task does not exist, or no longer.
    NotFound,
    /// The task was queued, and this call cancelled it.
    Cancelled,
    /// A worker runs the task; cancellation was requested.
    Requested,
    /// The task had already ended.
    AlreadyEnded(TaskState),
}

/// The tasks that a [`Broker::reap`] handled.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reaped {
    /// Requeued tasks.
    pub requeued: Vec<TaskId>,
    /// Tasks ended as cancelled, since cancellation was requested.
    pub cancelled: Vec<TaskId>,
    /// Tasks ended as failed, since they did not start by their deadline.
    pub expired: Vec<TaskId>,
    /// Tasks without attempts left. The caller holds them and must finish them as failed.
    pub exhausted: Vec<Claimed>,
}

impl Reaped {
    /// Returns the number of handled tasks.
    pub fn count(&self) -> usize {
        self.requeued.len() + self.cancelled.len() + self.expired.len() + self.exhausted.len()
    }
}
