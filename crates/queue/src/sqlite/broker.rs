//! Implements the operations, each as one job for the store.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use protocol::{
    Chunk, Event, EventSeq, ModelId, Outcome, Task, TaskId, TaskSnapshot, TaskState, TenantId,
    Timestamp, WorkerId, WorkerReport, record,
};

use super::column::{key, millis};
use super::course::{find, next_place};
use super::task::By;
use super::{
    Inner, SqliteBroker, claim, ended, files, lease, line, read, reap, submit, task, workers,
};
use crate::handover::{GiveBack, Parcel};
use crate::stored::Ending;
use crate::watch::{CancelFeed, Watch};
use crate::{
    Broker, BrokerError, CancelReply, Claimant, Claimed, Depth, Fitness, Lease, LeaseState, Reaped,
    Release, Room, SubmitOptions, Submitted, Unlogged, WorkerOrders,
};

/// The shortest pause before checking again for a delayed task that is due.
const TICK: Duration = Duration::from_millis(2);
/// How long the result of `accepts` is cached, so that frequent calls do not keep the disk busy.
const ACCEPTS_HOLDS: Duration = Duration::from_secs(1);
/// The maximum number of transactions in which one reap deletes expired rows.
const PURGES: usize = 64;

#[async_trait]
impl Broker for SqliteBroker {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    async fn ping(&self) -> Result<(), BrokerError> {
        self.inner.store.run(|tx| Ok(tx.sql.query_row("SELECT 1", [], |_| Ok(()))?)).await
    }

    async fn accepts(&self) -> Result<(), BrokerError> {
        let last = || self.inner.accepts.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last().clone().filter(|(at, _)| at.elapsed() < ACCEPTS_HOLDS);
        let answer = match known {
            Some((_, answer)) => answer,
            None => {
                let data_dir = self.inner.data_dir.clone();
                let work = move |tx: &mut super::Tx<'_>| {
                    // Take a place that no task uses: its commit fails where a submit's would.
                    next_place(tx)?;
                    files::check_room(&data_dir)
                        .map_err(|reason| BrokerError::Unavailable { reason })
                };
                let answer = match self.inner.store.run(work).await {
                    Err(BrokerError::Unavailable { reason }) => Err(reason),
                    other => Ok(other?),
                };
                *last() = Some((Instant::now(), answer.clone()));
                answer
            }
        };
        answer.map_err(|reason| BrokerError::Unavailable { reason })
    }

    async fn vet(&self) -> Result<Fitness, BrokerError> {
        // The process owns the file, and checked it when it opened it.
        Ok(Fitness::default())
    }

    async fn submit(&self, task: &Task, options: &SubmitOptions) -> Result<Submitted, BrokerError> {
        let (task, options) = (task.clone(), options.clone());
        self.inner.store.run(move |tx| submit::submit(tx, &task, &options, Timestamp::now())).await
    }

    async fn snapshot(&self, id: TaskId) -> Result<Option<TaskSnapshot>, BrokerError> {
        let work = move |tx: &mut super::Tx<'_>| {
            let now = Timestamp::now();
            let snapshot = read::snapshot(tx, id, now)?;
            let standing = line::standing(tx, id, now)?;
            let estimate = standing.map(|standing| standing.estimate());
            Ok(snapshot.map(|snapshot| TaskSnapshot { estimate, ..snapshot }))
        };
        self.inner.store.run(work).await
    }

    async fn expired(&self, id: TaskId) -> Result<Option<TenantId>, BrokerError> {
        self.inner.store.run(move |tx| ended::expired(tx, id, Timestamp::now())).await
    }

    async fn claim_into(
        &self,
        claimant: &Claimant,
        room: Room,
        wait: Duration,
    ) -> Result<Vec<Claimed>, BrokerError> {
        let deadline = Instant::now() + wait;
        // Subscribe before the first try, so that a task queued after it is noticed.
        let mut queued = self.inner.queued.subscribe();
        loop {
            let next_due = match self.inner.try_claim(claimant, room).await? {
                Ok(mut parcel) => {
                    while let Some((lease, outcome)) = parcel.next_unreadable() {
                        self.inner.finish(&lease, &outcome).await?;
                    }
                    let claimed = parcel.take();
                    if !claimed.is_empty() {
                        return Ok(claimed);
                    }
                    continue;
                }
                Err(next_due) => next_due,
            };
            let left = deadline.saturating_duration_since(Instant::now());
            let pause = next_due.map_or(left, |due| left.min(due.max(TICK)));
            if tokio::time::timeout(pause, queued.changed()).await.is_err() && pause == left {
                return Ok(Vec::new());
            }
        }
    }

    async fn renew(&self, lease: &Lease, span: Duration) -> Result<LeaseState, BrokerError> {
        let (lease, steady) = (*lease, self.inner.steady);
        let work = move |tx: &mut super::Tx<'_>| {
            lease::renew(tx, &lease, steady.now() + span, Timestamp::now())
        };
        self.inner.store.run(work).await
    }

    async fn publish(
        &self,
        lease: &Lease,
        from: u64,
        chunks: &[Chunk],
    ) -> Result<LeaseState, BrokerError> {
        let (lease, chunks) = (*lease, chunks.to_vec());
        let work = move |tx: &mut super::Tx<'_>| {
            lease::publish(tx, &lease, from, &chunks, Timestamp::now())
        };
        self.inner.store.run(work).await
    }

    async fn finish(&self, lease: &Lease, outcome: &Outcome) -> Result<Timestamp, BrokerError> {
        self.inner.finish(lease, outcome).await
    }

    async fn release(&self, lease: &Lease, release: &Release) -> Result<(), BrokerError> {
        self.inner.release(lease, release).await
    }

    async fn cancel(&self, id: TaskId) -> Result<CancelReply, BrokerError> {
        let work = move |tx: &mut super::Tx<'_>| {
            let now = Timestamp::now();
            let Some(course) = find(tx, id, now)? else { return Ok(CancelReply::NotFound) };
            match course.state {
                TaskState::Queued => {
                    task::end(tx, &course, now, &Ending::cancelled()?, By::Queue)?;
                    Ok(CancelReply::Cancelled)
                }
                TaskState::Processing => {
                    let mark = "UPDATE tasks SET cancel = 1 WHERE id = ?1";
                    tx.sql.prepare_cached(mark)?.execute([key(id)])?;
                    tx.cancel_requested(id);
                    tx.changed(id);
                    Ok(CancelReply::Requested)
                }
                ended => Ok(CancelReply::AlreadyEnded(ended)),
            }
        };
        self.inner.store.run(work).await
    }

    async fn reap(&self, reaper: &Claimant) -> Result<Reaped, BrokerError> {
        for _ in 0..PURGES {
            if !self.inner.store.run(|tx| reap::purge(tx, Timestamp::now())).await? {
                break;
            }
        }
        let (owned, hold) = (reaper.clone(), Arc::clone(&self.inner.reap_hold));
        let (clock, steps) = (self.inner.steady, Arc::clone(&self.inner.steps));
        let work = move |tx: &mut super::Tx<'_>| {
            let (now, steady) = (Timestamp::now(), clock.now());
            let behind = steps.lock().unwrap_or_else(PoisonError::into_inner).back(now, steady);
            if let Some(behind) = behind {
                tracing::warn!("the machine's clock was set back by {behind:?}");
                reap::clock_went_back(tx, behind, now)?;
            }
            let expired = reap::keep_time(tx, now)?;
            let mut hold = hold.lock().unwrap_or_else(PoisonError::into_inner);
            if hold.holds(steady, owned.lease) {
                return Ok((expired, reap::Swept::default()));
            }
            Ok((expired, reap::reap(tx, &owned, now, steady)?))
        };
        let (expired, swept) = self.inner.store.run(work).await?;
        let mut reaped = Reaped { expired, ..swept.reaped };
        for holding in swept.exhausted {
            match holding.open() {
                Ok(claimed) => reaped.exhausted.push(claimed),
                Err(task) => {
                    let (lease, outcome) = *task;
                    self.inner.finish(&lease, &outcome).await?;
                }
            }
        }
        Ok(reaped)
    }

    async fn unlogged(&self, span: Duration, limit: usize) -> Result<Vec<Unlogged>, BrokerError> {
        let work = move |tx: &mut super::Tx<'_>| ended::unlogged(tx, span, limit, Timestamp::now());
        self.inner.run_with(self.inner.written.take(), work).await
    }

    fn note_logged(&self, id: TaskId) {
        self.inner.written.note(id);
    }

    async fn logged(&self, ids: &[TaskId]) -> Result<(), BrokerError> {
        ids.iter().for_each(|id| self.inner.written.note(*id));
        loop {
            let written = self.inner.written.take();
            if written.is_empty() {
                return Ok(());
            }
            self.inner.run_with(written, |_| Ok(())).await?;
        }
    }

    async fn events(
        &self,
        id: TaskId,
        after: EventSeq,
        limit: usize,
    ) -> Result<Vec<Event>, BrokerError> {
        self.inner.store.run(move |tx| read::events(tx, id, after, limit, Timestamp::now())).await
    }

    fn watch(&self, id: TaskId) -> Watch {
        self.inner.hub.watch(id)
    }

    fn cancellations(&self) -> CancelFeed {
        self.inner.hub.cancellations()
    }

    async fn depth(&self, model: &ModelId) -> Result<Depth, BrokerError> {
        let model = model.clone();
        let pace = self.inner.store.run(move |tx| submit::pace(tx, model.as_str())).await?;
        Ok(Depth { queued: pace.queued, processing: pace.processing })
    }

    async fn report_worker(
        &self,
        report: &WorkerReport,
        ttl: Duration,
    ) -> Result<WorkerOrders, BrokerError> {
        // By the queue's clock, as with Redis.
        let report = WorkerReport { reported_at: Some(Timestamp::now()), ..report.clone() };
        let (id, text) = (report.id, record::encode(&report)?);
        let work = move |tx: &mut super::Tx<'_>| {
            let now = Timestamp::now();
            workers::report(tx, id, &text, now + ttl, now)
        };
        self.inner.store.run(work).await
    }

    async fn forget_worker(&self, id: WorkerId) -> Result<(), BrokerError> {
        self.inner.store.run(move |tx| workers::forget(tx, id)).await
    }

    async fn workers(&self) -> Result<Vec<WorkerReport>, BrokerError> {
        self.inner.store.run(|tx| workers::list(tx, Timestamp::now())).await
    }
}

impl Inner {
    async fn finish(&self, lease: &Lease, outcome: &Outcome) -> Result<Timestamp, BrokerError> {
        let (lease, outcome) = (*lease, outcome.clone());
        let work =
            move |tx: &mut super::Tx<'_>| lease::finish(tx, &lease, &outcome, Timestamp::now());
        self.run_with(self.written.ride(), work).await
    }

    /// Runs a job after acknowledging these tasks' log lines, both or neither.
    async fn run_with<T: Send + 'static>(
        &self,
        written: Vec<TaskId>,
        work: impl FnOnce(&mut super::Tx<'_>) -> Result<T, BrokerError> + Send + 'static,
    ) -> Result<T, BrokerError> {
        let ids = written.clone();
        let job = move |tx: &mut super::Tx<'_>| {
            ended::logged(tx, &ids)?;
            work(tx)
        };
        self.store.run(job).await.inspect_err(|_| self.written.put_back(written))
    }

    /// Tries to claim once, or returns the time until the next delayed task is due. Cancel-safe.
    async fn try_claim(
        self: &Arc<Self>,
        claimant: &Claimant,
        room: Room,
    ) -> Result<Result<Parcel, Option<Duration>>, BrokerError> {
        let (inner, claimant) = (Arc::clone(self), claimant.clone());
        let tried = tokio::spawn(async move {
            let turn = inner.turn.load(Ordering::Relaxed);
            let steady = inner.steady;
            let work = move |tx: &mut super::Tx<'_>| {
                let (now, until) = (Timestamp::now(), steady.now() + claimant.lease);
                let holdings = claim::claim(tx, &claimant, room, turn, now, until)?;
                let due = line::next_due(tx)?.map(|due| due - millis(now));
                Ok((holdings, due))
            };
            let (holdings, due) = inner.store.run(work).await?;
            if holdings.is_empty() {
                return Ok(
                    Err(due.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)))),
                );
            }
            inner.turn.fetch_add(holdings.len() as u64, Ordering::Relaxed);
            let mut parcel = Parcel::empty(inner);
            holdings.into_iter().for_each(|holding| parcel.put(holding));
            Ok(Ok(parcel))
        });
        // The join handle drops an unread output, and with it the parcel.
        tried.await.unwrap_or_else(|stopped| {
            Err(BrokerError::Unavailable { reason: format!("the claim was stopped: {stopped}") })
        })
    }

    async fn release(&self, lease: &Lease, release: &Release) -> Result<(), BrokerError> {
        let (lease, release) = (*lease, release.clone());
        self.store.run(move |tx| lease::release(tx, &lease, &release, Timestamp::now())).await
    }
}

#[async_trait]
impl GiveBack for Inner {
    async fn give_back(self: Arc<Self>, lease: Lease) -> Result<(), BrokerError> {
        self.release(&lease, &Release::Unused).await
    }
}
