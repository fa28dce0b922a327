//! The tasks' way through the queue, from submit to outcome.

use std::time::Duration;

use async_trait::async_trait;
use protocol::{
    Chunk, Event, EventSeq, ModelId, Outcome, Task, TaskId, TaskSnapshot, TenantId, Timestamp,
    WorkerId, WorkerReport,
};

use crate::watch::{CancelFeed, Watch};
use crate::{
    Batches, Blobs, BrokerError, CancelReply, Claimant, Claimed, Fitness, Keys, Lease, LeaseState,
    Listing, Metering, Operations, PeriodicTasks, Reaped, Release, ResultCache, Room,
    SubmitOptions, Submitted, Unlogged, Webhooks, WorkerOrders,
};

/// A queue of tasks. **Guarantee:** at-least-once execution, exactly one recorded outcome, and no
/// loss of an accepted task unless the store itself loses data.
///
/// Every operation is atomic and may be repeated safely after a lost reply. Times are by the
/// broker's clock.
#[async_trait]
pub trait Broker:
    Operations
    + Listing
    + Webhooks
    + Blobs
    + Batches
    + Keys
    + Metering
    + PeriodicTasks
    + ResultCache
    + Send
    + Sync
    + 'static
{
    /// Returns the name of the store for logs and `/health`: `redis` or `sqlite`.
    fn name(&self) -> &'static str;

    /// Checks that the store answers.
    async fn ping(&self) -> Result<(), BrokerError>;

    /// Checks that the store would accept a task now, apart from bounds.
    ///
    /// # Errors
    /// Returns [`BrokerError::Unavailable`] with the reason for which a submit would fail as well: the
    /// store does not answer, is out of memory, or can't write to its disk.
    async fn accepts(&self) -> Result<(), BrokerError>;

    /// Checks the store's configuration: that it permits every command that the queue uses and keeps
    /// stored data. Call at start and repeatedly, since settings change.
    ///
    /// # Errors
    /// Returns [`BrokerError::Unavailable`] if the store can't be queried now.
    async fn vet(&self) -> Result<Fitness, BrokerError>;

    /// Accepts a task: stores and queues it, or refuses it, atomically. Repeating the submit of the
    /// same task id changes nothing and returns the existing task.
    ///
    /// Each tenant has a small window of tasks in a model's lane; the rest wait in the tenant's own
    /// backlog. So a tenant with many tasks delays the others by a window, not by their number.
    ///
    /// # Errors
    /// Returns [`BrokerError::QueueFull`] if a bound of the options is reached,
    /// [`BrokerError::LimitReached`] if a meter of its charge has no room, [`BrokerError::KeyReused`] if the idempotency key was used for another request,
    /// and [`BrokerError::PeriodicChanged`] if the periodic task of its step has another revision.
    async fn submit(&self, task: &Task, options: &SubmitOptions) -> Result<Submitted, BrokerError>;

    /// Returns the task's snapshot, with its estimate while it is queued, or `None` if it never existed
    /// or its outcome has expired. One round trip, whose cost does not grow with the queue.
    async fn snapshot(&self, id: TaskId) -> Result<Option<TaskSnapshot>, BrokerError>;

    /// Returns the tenant of a task that ended and whose outcome has expired, or `None` if there is no
    /// such task. Remembered for as long again as the outcome was kept, and for at least
    /// [`crate::TOMBSTONE`].
    async fn expired(&self, id: TaskId) -> Result<Option<TenantId>, BrokerError>;

    /// Claims the next task for the claimant's models: [`Self::claim_batch`] with a limit of one.
    async fn claim(
        &self,
        claimant: &Claimant,
        wait: Duration,
    ) -> Result<Option<Claimed>, BrokerError> {
        Ok(self.claim_batch(claimant, 1, wait).await?.pop())
    }

    /// Claims tasks of any lane: [`Self::claim_into`] with room for `most`.
    async fn claim_batch(
        &self,
        claimant: &Claimant,
        most: usize,
        wait: Duration,
    ) -> Result<Vec<Claimed>, BrokerError> {
        self.claim_into(claimant, Room::for_any(most), wait).await
    }

    /// Claims as many of the next tasks for the claimant's models as there is `room` for, waiting up to `wait` for the
    /// first. Returns an empty list if no task came. Usually the most urgent lane is served first, but
    /// every lane regularly has a turn, task by task, so none starves. The tasks are `processing` when
    /// this returns, each under its own lease. If the ready workers have more room than tasks are
    /// queued, a claimant gets only its share, so that the others are not idle.
    ///
    /// Dropping the future loses no task: tasks claimed at that moment are released as unused. While
    /// the store is unavailable, this retries with pauses until `wait` has passed.
    async fn claim_into(
        &self,
        claimant: &Claimant,
        room: Room,
        wait: Duration,
    ) -> Result<Vec<Claimed>, BrokerError>;

    /// Extends a lease to `span` from now, and returns whether cancellation of the task was requested.
    ///
    /// # Errors
    /// Returns [`BrokerError::LeaseLost`] if the lease is not the current one: stop computing.
    async fn renew(&self, lease: &Lease, span: Duration) -> Result<LeaseState, BrokerError>;

    /// Appends generated text to the task's events, one event per chunk. Does not extend the lease.
    /// Checks the lease like [`Self::renew`]. `from` is the number of chunks of this attempt before
    /// these. Chunks that the broker already has are skipped, so a call whose reply was lost may be
    /// repeated, also with further chunks. A task keeps about 4,096 events; beyond that, the oldest are
    /// dropped, and the remaining numbers start later. The outcome contains the whole text.
    ///
    /// # Errors
    /// Returns [`BrokerError::LeaseLost`] if the lease is not the current one: stop computing.
    async fn publish(
        &self,
        lease: &Lease,
        from: u64,
        chunks: &[Chunk],
    ) -> Result<LeaseState, BrokerError>;

    /// Records the outcome: ends the task, deletes its prompt, starts its TTL, wakes readers, and makes
    /// its webhook, if any, due. A failure that used up the attempts
    /// ([`protocol::ErrorType::is_dead_letter`]) also creates a dead letter, which keeps the prompt.
    /// Returns the time of the record; repeating the call with the same lease returns the same. The
    /// caller must write the log line within [`crate::LINE_SPAN`].
    ///
    /// # Errors
    /// Returns [`BrokerError::LeaseLost`] if the lease is not the current one: the outcome was not
    /// recorded.
    async fn finish(&self, lease: &Lease, outcome: &Outcome) -> Result<Timestamp, BrokerError>;

    /// Returns a task to its queue for its next attempt, at once or after the release's pause. Checks
    /// the lease like [`Self::renew`]; the same lease may repeat the call. If cancellation was
    /// requested, the task ends as cancelled instead, and the caller must write its log line, as after
    /// [`Self::finish`]. The caller checks whether another attempt is allowed
    /// ([`Claimed::may_retry`]); it must finish a task without attempts left as failed.
    ///
    /// # Errors
    /// Returns [`BrokerError::LeaseLost`] if the lease is not the current one.
    async fn release(&self, lease: &Lease, release: &Release) -> Result<(), BrokerError>;

    /// Cancels a task. A queued task ends at once. For a running task, sets a durable flag and wakes
    /// its worker. Idempotent; an ended task is unchanged.
    async fn cancel(&self, id: TaskId) -> Result<CancelReply, BrokerError>;

    /// Handles expired leases: requeues their tasks (ends those whose cancellation was requested), and
    /// returns those without attempts left under a fresh lease of `reaper`, which must finish them as
    /// failed. Queues delayed tasks whose time has come, and ends queued tasks whose deadline has
    /// passed. After a task's first lost lease the task is queued at once; after further ones it backs
    /// off, longer each time ([`crate::retry::after_loss`]). Any process may reap, at any time,
    /// concurrently.
    ///
    /// Reap at least three times per lease span. If no process reaped for half a lease, the store or all
    /// processes were down and workers could not renew, so no lease is reclaimed for one more lease.
    async fn reap(&self, reaper: &Claimant) -> Result<Reaped, BrokerError>;

    /// Takes up to `limit` tasks whose log lines are due: ends without a lease, and ends whose recorder
    /// did not acknowledge the line within [`crate::LINE_SPAN`]. The caller must log them within `span`: unless
    /// it acknowledges by then ([`Self::note_logged`], [`Self::logged`]), another caller gets them.
    async fn unlogged(&self, span: Duration, limit: usize) -> Result<Vec<Unlogged>, BrokerError>;

    /// Notes that a task's log line is written. The note is sent with the next call that records,
    /// claims or requests unlogged tasks, or by [`Self::logged`], so it costs no call of its own.
    fn note_logged(&self, id: TaskId);

    /// Acknowledges the log lines of these tasks and of all tasks noted before.
    async fn logged(&self, ids: &[TaskId]) -> Result<(), BrokerError>;

    /// Returns up to `limit` of the task's events after `after`, oldest first. Empty for an unknown task.
    async fn events(
        &self,
        id: TaskId,
        after: EventSeq,
        limit: usize,
    ) -> Result<Vec<Event>, BrokerError>;

    /// Watches a task: wakes whenever it may have changed. A wake-up is a hint: read the store after
    /// each, and at times without one.
    fn watch(&self, id: TaskId) -> Watch;

    /// Watches all cancellation requests. A hint: the durable flag is returned by [`Self::renew`] and
    /// [`Self::publish`].
    fn cancellations(&self) -> CancelFeed;

    /// Returns the number of queued and running tasks of a model.
    async fn depth(&self, model: &ModelId) -> Result<Depth, BrokerError>;

    /// Stores a worker's report, which expires after `ttl` unless replaced. Returns operators' orders
    /// for the worker.
    async fn report_worker(
        &self,
        report: &WorkerReport,
        ttl: Duration,
    ) -> Result<WorkerOrders, BrokerError>;

    /// Deletes the report of a worker that stops. Its leases, if any, expire.
    async fn forget_worker(&self, id: WorkerId) -> Result<(), BrokerError>;

    /// Returns the unexpired reports of workers, in no particular order.
    async fn workers(&self) -> Result<Vec<WorkerReport>, BrokerError>;
}

/// The number of tasks of a model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Queued tasks.
    pub queued: u64,
    /// Running tasks.
    pub processing: u64,
}
