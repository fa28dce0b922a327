//! The [`Broker`] contract: what every queue must do, whatever it stores tasks in. One conformance
//! suite (`tests/conformance`) holds all implementations to the letter of these comments.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use protocol::{
    Attempt, Estimate, Event, EventSeq, ModelId, Outcome, RecordError, Task, TaskId, TaskSnapshot,
    TaskState, Timestamp, WorkerId, WorkerReport,
};

use crate::watch::{CancelFeed, Watch};
use crate::{Bound, SubmitOptions, Submitted};

/// Where tasks wait. **The promise:** at-least-once execution, exactly one recorded outcome, and no
/// accepted task is lost unless the store itself loses data.
///
/// Every operation is atomic: it happens whole or not at all, and may be repeated safely after a
/// lost reply ([`Self::publish`] alone may then tell a text twice). Time is the broker's own clock.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// What stores the tasks, for logs and `/health`: `redis` or `sqlite`.
    fn name(&self) -> &'static str;

    /// Checks that the store answers.
    async fn ping(&self) -> Result<(), BrokerError>;

    /// Accepts a task: it is stored and queued, or refused, never half of it. Repeating the submit of
    /// the same task id changes nothing and answers with the task that is there.
    ///
    /// A tenant has at most a small window of tasks in a model's lane; the rest wait behind them, in
    /// the tenant's own backlog, so one tenant's many delay another by a window, not by their number.
    ///
    /// # Errors
    /// [`BrokerError::QueueFull`] when a bound of the options is reached,
    /// [`BrokerError::KeyReused`] when the idempotency key stands for another request.
    async fn submit(&self, task: &Task, options: &SubmitOptions) -> Result<Submitted, BrokerError>;

    /// Where a queued task stands and when its outcome is likely, at a cost that does not grow with
    /// the queue; none when there is no such task or it is not queued.
    async fn estimate(&self, id: TaskId) -> Result<Option<Estimate>, BrokerError>;

    /// What is known of a task; none when there is no such task, or its outcome has expired.
    async fn snapshot(&self, id: TaskId) -> Result<Option<TaskSnapshot>, BrokerError>;

    /// Takes the next task for one of the claimant's models, waiting up to `wait` for one to come.
    /// Usually the most urgent lane is served first, but every lane has its turn now and then, so
    /// none starves. The task is `processing` under a lease when this returns.
    ///
    /// Dropping the future loses no task: one that was taken at that very moment goes back, unused.
    /// While the store is away this keeps trying, with pauses, until `wait` is over.
    async fn claim(
        &self,
        claimant: &Claimant,
        wait: Duration,
    ) -> Result<Option<Claimed>, BrokerError>;

    /// Extends a lease to `span` from now, and tells whether the owner wants the task cancelled.
    ///
    /// # Errors
    /// [`BrokerError::LeaseLost`] when the lease is not the current one: stop computing.
    async fn renew(&self, lease: &Lease, span: Duration) -> Result<LeaseState, BrokerError>;

    /// Appends generated text to the task's events, one event per chunk. Fenced like [`Self::renew`].
    /// A task keeps some 4,096 events; beyond, the oldest go, and the numbers that are left begin
    /// later. The outcome has the whole text.
    ///
    /// Not idempotent: after [`BrokerError::Unavailable`] the chunks may have been appended or not.
    ///
    /// # Errors
    /// [`BrokerError::LeaseLost`] when the lease is not the current one: stop computing.
    async fn publish(&self, lease: &Lease, chunks: &[String]) -> Result<LeaseState, BrokerError>;

    /// Records the outcome: the task ends, its queue entry goes, its TTL starts, readers wake.
    /// Answers the time of the record; the same lease repeating itself gets the same answer.
    ///
    /// # Errors
    /// [`BrokerError::LeaseLost`] when the lease is not the current one: the outcome was not recorded.
    async fn finish(&self, lease: &Lease, outcome: &Outcome) -> Result<Timestamp, BrokerError>;

    /// Gives a task back to the end of its queue for its next attempt. Fenced like [`Self::renew`];
    /// the same lease may repeat itself. A task whose owner asked to cancel it ends as cancelled
    /// instead of being queued. Whether another attempt is allowed ([`Claimed::may_retry`]) is the
    /// caller's to check: a task with its attempts used up is to be finished as failed.
    ///
    /// # Errors
    /// [`BrokerError::LeaseLost`] when the lease is not the current one.
    async fn release(&self, lease: &Lease, release: &Release) -> Result<(), BrokerError>;

    /// Takes a task back. Queued: it ends at once. Processing: a durable flag is set and its worker
    /// is woken. Idempotent; a task that has ended stays as it is.
    async fn cancel(&self, id: TaskId) -> Result<CancelReply, BrokerError>;

    /// Deals with leases that have run out: puts their tasks back in the queue (ends those whose owner
    /// asked to cancel), and hands those whose attempts are used up to the caller, under a fresh lease
    /// of `reaper`, to be finished as failed. Lets delayed tasks into the queue when their time has
    /// come, and ends queued ones whose deadline has passed. Anyone may reap, at any time, in parallel.
    ///
    /// Reap at least three times a lease. When nobody did for half a lease, the store was away, or
    /// all were: workers could not renew then, so nothing is reclaimed for one more lease.
    async fn reap(&self, reaper: &Claimant) -> Result<Reaped, BrokerError>;

    /// The task's events after `after`, oldest first, at most `limit`. Empty for an unknown task.
    async fn events(
        &self,
        id: TaskId,
        after: EventSeq,
        limit: usize,
    ) -> Result<Vec<Event>, BrokerError>;

    /// Wakes whenever something may have happened to the task. A hint: read again after each wake,
    /// and also now and then without one.
    fn watch(&self, id: TaskId) -> Watch;

    /// Names tasks whose cancellation was just asked for. A hint: the durable flag comes with
    /// [`Self::renew`] and [`Self::publish`].
    fn cancellations(&self) -> CancelFeed;

    /// How many tasks of a model wait and run.
    async fn depth(&self, model: &ModelId) -> Result<Depth, BrokerError>;

    /// Stores a worker's report; it is forgotten after `ttl` without another.
    async fn report_worker(&self, report: &WorkerReport, ttl: Duration) -> Result<(), BrokerError>;

    /// Forgets a worker that says goodbye. Its leases, if any, run out by themselves.
    async fn forget_worker(&self, id: WorkerId) -> Result<(), BrokerError>;

    /// The workers that reported lately, in no particular order.
    async fn workers(&self) -> Result<Vec<WorkerReport>, BrokerError>;
}

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
        /// What went wrong, for the event.
        reason: String,
    },
}

impl Release {
    pub(crate) fn counts_as_failed(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }

    /// What the `requeued` event says.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Unused => "the worker gave it back",
            Self::Failed { reason } => reason,
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

/// How many tasks of a model there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Waiting for a worker.
    pub queued: u64,
    /// Held by workers.
    pub processing: u64,
}

/// Why a broker did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The store can't be reached or refuses to write now. Nothing was changed, or the reply was lost:
    /// repeating is safe.
    #[error("the queue is unavailable: {reason}")]
    Unavailable {
        /// What the store or the network said.
        reason: String,
    },
    /// A bound on what may be queued is reached.
    #[error(
        "{}: {held} {} wait, {limit} are allowed; try again in {retry_after_s} s",
        bound.whose(model), bound.unit()
    )]
    QueueFull {
        /// Which bound.
        bound: Bound,
        /// What the task asked for.
        model: ModelId,
        /// How much is queued.
        held: u64,
        /// How much may be queued.
        limit: u64,
        /// When room is likely, from recent processing times; 1 to 120.
        retry_after_s: u32,
    },
    /// The idempotency key was used before, for a request with another body.
    #[error("the idempotency key was used before with another body, for task {task_id}")]
    KeyReused {
        /// The task that it stands for.
        task_id: TaskId,
    },
    /// The caller's lease is not the task's current one.
    #[error(
        "the lease on task {task_id} (attempt {attempt}) is lost: another attempt has begun or the task has ended"
    )]
    LeaseLost {
        /// The task.
        task_id: TaskId,
        /// The delivery the caller thought it had.
        attempt: Attempt,
    },
    /// A stored record can't be read by this version.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The store answered what it never should: a bug, or a foreign hand in the data.
    #[error("the queue's store answered unexpectedly: {0}")]
    Corrupt(String),
}

/// Why a broker could not be opened. Waiting does not help: the operator must act.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL of Redis can't be one.
    #[error(
        "the Redis URL can't be used: {reason}; expected redis://[user:password@]host:port[/db]"
    )]
    RedisUrl {
        /// What is wrong with it.
        reason: String,
    },
    /// The data folder can't be used.
    #[error("the data folder {} can't be used: {source}", path.display())]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process has the queue open.
    #[error(
        "another process uses the queue in {}: stop it, or choose another folder with DATA_DIR; \
         to share a queue between processes use Redis (REDIS_URL)",
        path.display()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A newer version wrote the queue's file.
    #[error(
        "the queue in {} was written by a newer version (schema {found}, this build knows {known}): \
         run the newer version, or choose another folder with DATA_DIR",
        path.display()
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its schema's number.
        found: i64,
        /// The newest number that this build knows.
        known: i64,
    },
    /// The queue's file can't be opened or is damaged.
    #[error("the queue in {} can't be opened: {reason}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        reason: String,
    },
}
