//! Who holds a task, and what passes between a broker and the holder.

use std::time::Duration;

use protocol::{Attempt, ModelId, Task, TaskError, TaskId, TaskState, Timestamp, WorkerId};

use super::BrokerError;

/// Who claims, for which models, and for how long at a time.
#[derive(Debug, Clone)]
pub struct Claimant {
    /// This run of the worker.
    pub worker: WorkerId,
    /// What it can run.
    pub models: Vec<ModelId>,
    /// How long a lease lasts unless renewed (`LEASE_SECONDS`).
    pub lease: Duration,
}

/// A worker's time-limited right to one attempt at one task. The broker knows when it runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The task.
    pub task_id: TaskId,
    /// Its holder.
    pub worker: WorkerId,
    /// The delivery it is for.
    pub attempt: Attempt,
}

/// A task that the caller now holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// What to do.
    pub task: Task,
    /// The right to do it.
    pub lease: Lease,
    /// When it was accepted.
    pub submitted_at: Timestamp,
    /// When this attempt began.
    pub started_at: Timestamp,
    /// How many earlier attempts failed; drained ones don't count.
    pub failed_attempts: u32,
}

impl Lease {
    /// The lease as one text, `worker:attempt`, as brokers store and compare it.
    pub(crate) fn fence(&self) -> String {
        format!("{}:{}", self.worker, self.attempt)
    }

    /// The error that this lease is not the current one.
    pub(crate) fn lost(&self) -> BrokerError {
        BrokerError::LeaseLost { task_id: self.task_id, attempt: self.attempt }
    }
}

impl Claimed {
    /// Whether the task may be tried again should this attempt fail too.
    pub fn may_retry(&self) -> bool {
        self.failed_attempts + 1 < self.task.max_attempts
    }
}

/// What the holder of a valid lease learns when it shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseState {
    /// The owner wants the task cancelled: stop, and finish it as cancelled.
    pub cancel_requested: bool,
}

/// Why a task goes back to the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Release {
    /// The worker stops or can't run it now; the attempt does not count as failed.
    Unused,
    /// The attempt failed in a way that may pass; it counts.
    Failed {
        /// What went wrong: for the event, and for the dead letter if it comes to that.
        error: TaskError,
        /// How long the task rests before its next attempt ([`crate::retry::pause`]).
        retry_in: Duration,
    },
}

impl Release {
    /// What the `requeued` event says.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Unused => "the worker gave it back",
            Self::Failed { error, .. } => &error.message,
        }
    }
}

/// What became of a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelReply {
    /// There is no such task (any more).
    NotFound,
    /// It was queued and is cancelled now, by this very call.
    Cancelled,
    /// A worker has it and was told to stop.
    Requested,
    /// It had ended before.
    AlreadyEnded(TaskState),
}

/// What a [`Broker::reap`] found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reaped {
    /// Put back in the queue.
    pub requeued: Vec<TaskId>,
    /// Ended, since their owners had asked to cancel them.
    pub cancelled: Vec<TaskId>,
    /// Ended as failed, since they were not started by their deadline.
    pub expired: Vec<TaskId>,
    /// Attempts used up; the caller holds them now and must finish them as failed.
    pub exhausted: Vec<Claimed>,
}

impl Reaped {
    /// How many tasks were dealt with.
    pub fn count(&self) -> usize {
        self.requeued.len() + self.cancelled.len() + self.expired.len() + self.exhausted.len()
    }
}
