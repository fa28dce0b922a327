//! The [`Broker`] contract: what every queue must do, whatever it stores tasks in. One conformance
//! suite (`tests/conformance`) holds all implementations to the letter of these comments.

pub(crate) mod causes;
mod error;
mod fitness;
mod journal;
mod lease;
mod operations;
mod webhooks;

use std::time::Duration;

use async_trait::async_trait;
use protocol::{
    Chunk, Event, EventSeq, ModelId, Outcome, Task, TaskId, TaskSnapshot, TenantId, Timestamp,
    WorkerId, WorkerReport,
};

use crate::watch::{CancelFeed, Watch};
use crate::{SubmitOptions, Submitted};

pub use causes::NO_ANSWER;
pub use error::{BrokerError, OpenError};
pub use fitness::Fitness;
pub use journal::{LINE_KEPT, LINE_SPAN, Unlogged};
pub use lease::{CancelReply, Claimant, Claimed, Lease, LeaseState, Reaped, Release};
pub use operations::{
    DEAD_LETTER_TTL, DeadLetter, DeadLetterPage, Failure, MAX_DEAD_LETTERS, Operations, Overview,
    Purge, QueueOverview, TOMBSTONE, WorkerOrders,
};
pub use webhooks::{
    Delivery, MAX_TRIES_KEPT, Tried, TryResult, Verdict, WEBHOOK_REPORT_TTL, WebhookReport,
    WebhookState, Webhooks,
};

/// Where tasks wait. **The promise:** at-least-once execution, exactly one recorded outcome, and no
/// accepted task is lost unless the store itself loses data.
///
/// Every operation is atomic: it happens whole or not at all, and may be repeated safely after a
/// lost reply. Time is the broker's own clock.
#[async_trait]
pub trait Broker: Operations + Webhooks + Send + Sync + 'static {
    /// What stores the tasks, for logs and `/health`: `redis` or `sqlite`.
    fn name(&self) -> &'static str;

    /// Checks that the store answers.
    async fn ping(&self) -> Result<(), BrokerError>;

    /// Checks that the store would take a task now, bounds aside.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`] with the reason for which a submit would be refused as well: the store
    /// does not answer, is out of memory, can't write to its disk.
    async fn accepts(&self) -> Result<(), BrokerError>;

    /// Checks that the store is set up for the queue: that it may be asked all that the queue asks of it, and
    /// keeps what it is given. To be asked at start, and now and then: settings change.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`] when the store can't be asked now.
    async fn vet(&self) -> Result<Fitness, BrokerError>;

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

    /// Returns the task's snapshot, with where it stands while it is queued, or `None` if it never existed or
    /// its outcome has expired. One round trip, whose cost does not grow with the queue.
    async fn snapshot(&self, id: TaskId) -> Result<Option<TaskSnapshot>, BrokerError>;

    /// Returns whose task this was, if it ended and its outcome has expired. Remembered for as long again as
    /// the outcome was kept, and for at least [`crate::TOMBSTONE`].
    async fn expired(&self, id: TaskId) -> Result<Option<TenantId>, BrokerError>;

    /// Takes the next task for one of the claimant's models: [`Self::claim_batch`] of one.
    async fn claim(
        &self,
        claimant: &Claimant,
        wait: Duration,
    ) -> Result<Option<Claimed>, BrokerError> {
        Ok(self.claim_batch(claimant, 1, wait).await?.pop())
    }

    /// Takes the next tasks for the claimant's models, up to `most` at once, waiting up to `wait` for the
    /// first to come; none when none came. Usually the most urgent lane is served first, but every lane
    /// has its turn now and then, task by task, so none starves. The tasks are `processing` when this
    /// returns, each under a lease of its own. Where the ready workers have more room than tasks wait,
    /// a claimant gets no more than its part of them, so that the others don't stand idle.
    ///
    /// Dropping the future loses no task: those that were taken at that very moment go back, unused.
    /// While the store is away this keeps trying, with pauses, until `wait` is over.
    async fn claim_batch(
        &self,
        claimant: &Claimant,
        most: usize,
        wait: Duration,
    ) -> Result<Vec<Claimed>, BrokerError>;

    /// Extends a lease to `span` from now, and tells whether the owner wants the task cancelled.
    ///
    /// # Errors
    /// [`BrokerError::LeaseLost`] when the lease is not the current one: stop computing.
    async fn renew(&self, lease: &Lease, span: Duration) -> Result<LeaseState, BrokerError>;

    /// Appends generated text to the task's events, one event per chunk, and extends nothing. Fenced
    /// like [`Self::renew`]. `from` is how many chunks of this attempt came before these: those that
    /// the broker has already are not told twice, so a call whose reply was lost may be repeated, also
    /// with further chunks. A task keeps some 4,096 events; beyond, the oldest go, and the numbers that
    /// are left begin later. The outcome has the whole text.
    ///
    /// # Errors
    /// [`BrokerError::LeaseLost`] when the lease is not the current one: stop computing.
    async fn publish(
        &self,
        lease: &Lease,
        from: u64,
        chunks: &[Chunk],
    ) -> Result<LeaseState, BrokerError>;

    /// Records the outcome: the task ends, its prompt goes, its TTL starts, readers wake, and its
    /// webhook, if any, falls due. A failure that used the attempts up
    /// ([`protocol::ErrorType::is_dead_letter`]) also becomes a dead letter, which keeps the prompt. Returns
    /// the time of the record; the same lease repeating itself gets the same answer. The log line is the
    /// caller's to write for [`LINE_SPAN`].
    ///
    /// # Errors
    /// [`BrokerError::LeaseLost`] when the lease is not the current one: the outcome was not recorded.
    async fn finish(&self, lease: &Lease, outcome: &Outcome) -> Result<Timestamp, BrokerError>;

    /// Gives a task back to its queue for its next attempt: at once, or after the pause that the
    /// release names. Fenced like [`Self::renew`];
    /// the same lease may repeat itself. A task whose owner asked to cancel it ends as cancelled
    /// instead of being queued; then its log line is the caller's, as after [`Self::finish`]. Whether another attempt is allowed ([`Claimed::may_retry`]) is the
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
    /// come, and ends queued ones whose deadline has passed. A task whose worker fell silent for the
    /// first time is queued at once; after more such failures it rests first, longer each time
    /// ([`crate::retry::after_loss`]). Anyone may reap, at any time, in parallel.
    ///
    /// Reap at least three times a lease. When nobody did for half a lease, the store was away, or
    /// all were: workers could not renew then, so nothing is reclaimed for one more lease.
    async fn reap(&self, reaper: &Claimant) -> Result<Reaped, BrokerError>;

    /// Tasks whose log lines are due, at most `limit`: ends that no lease decided, and those whose recorder
    /// did not say within [`LINE_SPAN`] that the line is written. They are the caller's to log for `span`:
    /// unless it says so by then ([`Self::note_logged`], [`Self::logged`]), somebody else gets them.
    async fn unlogged(&self, span: Duration, limit: usize) -> Result<Vec<Unlogged>, BrokerError>;

    /// Notes that a task has its log line. The store learns of it with the next call that records, claims or
    /// asks for what is unlogged, or by [`Self::logged`]; so it costs no call of its own.
    fn note_logged(&self, id: TaskId);

    /// Says that these have their log lines, and so do all that were noted before.
    async fn logged(&self, ids: &[TaskId]) -> Result<(), BrokerError>;

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

    /// Stores a worker's report; it is forgotten after `ttl` without another. Answers what operators
    /// want of the worker.
    async fn report_worker(
        &self,
        report: &WorkerReport,
        ttl: Duration,
    ) -> Result<WorkerOrders, BrokerError>;

    /// Forgets a worker that says goodbye. Its leases, if any, run out by themselves.
    async fn forget_worker(&self, id: WorkerId) -> Result<(), BrokerError>;

    /// The workers that reported lately, in no particular order.
    async fn workers(&self) -> Result<Vec<WorkerReport>, BrokerError>;
}

/// How many tasks of a model there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Waiting for a worker.
    pub queued: u64,
    /// Held by workers.
    pub processing: u64,
}
