//! The options of a submit and its result.

use std::time::Duration;

use crate::{Charge, Payer, PeriodicStep, Reading};
use protocol::{Estimate, ModelId, TaskId, TaskState, Timestamp};

/// The options with which a task is queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmitOptions {
    /// The limits on queued tasks.
    pub bounds: Bounds,
    /// The idempotency key, if any, and the earlier submits that count as the same.
    pub idempotency: Option<Idempotency>,
    /// The time when the task may start. Until then it is delayed, in state `queued`.
    pub start: Start,
    /// The maximum wait for the first start, from acceptance. After it, the task fails as `expired`.
    pub expires_in: Option<Duration>,
    /// Who pays, and the limits that must have room. A repetition of an earlier submit is not charged.
    pub charge: Charge,
    /// The step of a periodic task that the submit takes, together with the task or not at all. Then `idempotency` must
    /// be `None`: the step itself is taken once.
    pub step: Option<Box<PeriodicStep>>,
}

impl SubmitOptions {
    /// Starts at once, has no bounds, and makes every submit a new task.
    pub const PLAIN: Self = Self {
        bounds: Bounds::NONE,
        idempotency: None,
        start: Start::Now,
        expires_in: None,
        charge: Charge { payer: Payer::NONE, tokens: 0 },
        step: None,
    };
}

impl Default for SubmitOptions {
    fn default() -> Self {
        Self::PLAIN
    }
}

/// The limits on queued tasks, including the new one. Delayed tasks count, running ones don't.
/// Requeued tasks are never refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Tasks of one model.
    pub model: u64,
    /// Tasks of one tenant, whatever their model.
    pub tenant: u64,
    /// Bytes of all queued tasks' records.
    pub bytes: u64,
}

impl Bounds {
    /// No bounds.
    pub const NONE: Self = Self { model: u64::MAX, tenant: u64::MAX, bytes: u64::MAX };
}

/// A limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bound {
    /// [`Bounds::model`].
    Model,
    /// [`Bounds::tenant`].
    Tenant,
    /// [`Bounds::bytes`].
    Bytes,
}

impl Bound {
    /// Returns the subject of the message: what is full.
    pub(crate) fn whose(self, model: &ModelId) -> String {
        match self {
            Self::Model => format!("the queue of model '{model}' is full"),
            Self::Tenant => "your share of the queue is full".to_owned(),
            Self::Bytes => "the queue's memory is full".to_owned(),
        }
    }

    /// Returns the unit that the limit counts.
    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Self::Model | Self::Tenant => "tasks",
            Self::Bytes => "bytes",
        }
    }
}

/// The time when a task may start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Start {
    /// At once.
    #[default]
    Now,
    /// After this much time has passed since its acceptance.
    After(Duration),
    /// At this time or later.
    At(Timestamp),
}

/// Makes repeated submits return the task that the first one created. Keys are scoped to a tenant. A
/// key is kept as long as the record of its task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The client's key, or one that the gateway derives. The gateway limits its length.
    pub key: String,
    /// A hash of the request: the same key with another hash is an error.
    pub body_hash: String,
    /// Which earlier submits count as the same.
    pub matches: Matches,
}

/// Selects the earlier submits under the same key that count as the same request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matches {
    /// Matches any earlier submit whose task is still stored. An `Idempotency-Key` requests this.
    Always,
    /// Matches an earlier submit at most this old; an older one is replaced. For a client that marks
    /// a request as a retry without sending a key.
    Within(Duration),
    /// Matches no earlier submit: creates a new task, which later repetitions match.
    Never,
}

/// The result of an accepted submit.
#[derive(Debug, Clone, PartialEq)]
pub struct Submitted {
    /// The id of the submitted task, or of the task that an earlier submit of the same request
    /// created. With an idempotency key, a new task may get an id other than the submitted one:
    /// where the queue is partitioned, the key determines the partition. Repeated submits get the
    /// same id. Use this one.
    pub task_id: TaskId,
    /// `true` if this call created the task.
    pub created: bool,
    /// The task's state; `queued` if it was just created.
    pub state: TaskState,
    /// The time when the task was accepted.
    pub at: Timestamp,
    /// The number of queued tasks of its model at that time, including itself. Where the queue is
    /// partitioned, the number in the task's partition.
    pub depth: u64,
    /// The task's position and the likely time of its outcome, or `None` if it is not queued any more.
    pub estimate: Option<Estimate>,
    /// The state of the charge's meters after it, in their order. Empty if the call created no task.
    pub readings: Vec<Reading>,
}
