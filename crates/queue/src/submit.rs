//! What goes with a task into the queue, and what the queue says to it.

use std::time::Duration;

use protocol::{Estimate, ModelId, TaskId, TaskState, Timestamp};

/// How a task is to be queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmitOptions {
    /// What may be queued at most.
    pub bounds: Bounds,
    /// Which earlier submit this may be a repetition of.
    pub idempotency: Option<Idempotency>,
    /// When the task may be started. Until then it waits, and is `queued`.
    pub start: Start,
    /// How long after its acceptance it may wait for its first start; then it fails as `expired`.
    pub expires_in: Option<Duration>,
}

impl SubmitOptions {
    /// At once, without bounds, and every submit is a task of its own.
    pub const PLAIN: Self =
        Self { bounds: Bounds::NONE, idempotency: None, start: Start::Now, expires_in: None };
}

impl Default for SubmitOptions {
    fn default() -> Self {
        Self::PLAIN
    }
}

/// What may be queued at most, the new task included. Delayed tasks count; running ones don't, and
/// what comes back to the queue is never refused.
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

/// A bound that was reached.
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
    /// What is full.
    pub(crate) fn whose(self, model: &ModelId) -> String {
        match self {
            Self::Model => format!("the queue of model '{model}' is full"),
            Self::Tenant => "your share of the queue is full".to_owned(),
            Self::Bytes => "the queue's memory is full".to_owned(),
        }
    }

    /// What it counts.
    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Self::Model | Self::Tenant => "tasks",
            Self::Bytes => "bytes",
        }
    }
}

/// When a task may be started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Start {
    /// At once.
    #[default]
    Now,
    /// Not before this much time has passed since its acceptance.
    After(Duration),
    /// Not before this instant.
    At(Timestamp),
}

/// Ties repetitions of a submit to the task that the first of them made. Keys are a tenant's own. A
/// key is remembered as long as the record of its task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The client's key, or what the gateway makes up for it. Its length is the gateway's to bound.
    pub key: String,
    /// A hash of the request: the same key with another one is an error.
    pub body_hash: String,
    /// Which earlier submit counts.
    pub matches: Matches,
}

/// Which earlier submit under the same key counts as the same request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matches {
    /// Any, as long as its task is remembered. What an `Idempotency-Key` asks for.
    Always,
    /// One at most this long ago; an older one is replaced. For a client that says that it repeats
    /// itself, without a key.
    Within(Duration),
    /// None: this is a new task, which later repetitions find.
    Never,
}

/// A task was accepted, now or before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Submitted {
    /// The task: the submitted one, or that which an earlier submit of the same request made. With an
    /// idempotency key a new task may get another id than the one it was submitted with, always the
    /// same one (where a queue is divided, the key says where the task belongs): use this one.
    pub task_id: TaskId,
    /// Whether it was this call that made it.
    pub created: bool,
    /// Where it is; `queued` when it was just made.
    pub state: TaskState,
    /// When it was accepted.
    pub at: Timestamp,
    /// How many tasks of its model were queued then, itself included; where a queue is divided, as
    /// far as one part of it tells.
    pub depth: u64,
    /// Where it stands now; none when it is not queued any more.
    pub estimate: Option<Estimate>,
}
