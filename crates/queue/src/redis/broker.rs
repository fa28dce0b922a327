//! The operations, each one script or one command.

use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use protocol::{
    Event, EventSeq, ModelId, Outcome, Task, TaskId, TaskSnapshot, TenantId, Timestamp, WorkerId,
    WorkerReport, record,
};
use redis::cmd;

use super::RedisBroker;
use super::claim::millis;
use super::partition::Partition;
use super::partitions::{all, some};
use super::reply::{self, Reply, SNAPSHOT_FIELDS, SnapshotRow};
use crate::pace::LATEST_WEIGHT;
use crate::stored::{self, Ending, LEASE_RAN_OUT, MAX_EVENTS};
use crate::watch::{CancelFeed, Watch};
use crate::{
    Broker, BrokerError, CancelReply, Claimant, Claimed, Depth, Lease, LeaseState, Reaped, Release,
    SubmitOptions, Submitted, WorkerOrders,
};

/// How many leases one `reap.lua` deals with; when more have run out, it runs again.
const REAP_BATCH: usize = 64;

#[async_trait]
impl Broker for RedisBroker {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn ping(&self) -> Result<(), BrokerError> {
        self.partitions.agree().await?;
        let asked = self.partitions.all().await?.iter().map(|partition| partition.ping());
        all(join_all(asked).await).map(drop)
    }

    async fn submit(&self, task: &Task, options: &SubmitOptions) -> Result<Submitted, BrokerError> {
        let (partition, task) = self.partitions.for_new(task, options.idempotency.as_ref()).await?;
        partition.submit(&task, options).await
    }

    async fn snapshot(&self, id: TaskId) -> Result<Option<TaskSnapshot>, BrokerError> {
        self.partitions.of(id).await?.snapshot(id).await
    }

    async fn expired(&self, _id: TaskId) -> Result<Option<TenantId>, BrokerError> {
        Ok(None)
    }

    async fn claim(
        &self,
        claimant: &Claimant,
        wait: Duration,
    ) -> Result<Option<Claimed>, BrokerError> {
        self.claim_within(claimant, wait).await
    }

    async fn renew(&self, lease: &Lease, span: Duration) -> Result<LeaseState, BrokerError> {
        self.partitions.of(lease.task_id).await?.renew(lease, span).await
    }

    async fn publish(
        &self,
        lease: &Lease,
        _from: u64,
        chunks: &[String],
    ) -> Result<LeaseState, BrokerError> {
        self.partitions.of(lease.task_id).await?.publish(lease, chunks).await
    }

    async fn finish(&self, lease: &Lease, outcome: &Outcome) -> Result<Timestamp, BrokerError> {
        self.partitions.of(lease.task_id).await?.finish(lease, outcome).await
    }

    async fn release(&self, lease: &Lease, release: &Release) -> Result<(), BrokerError> {
        self.partitions.of(lease.task_id).await?.release(lease, release).await
    }

    async fn cancel(&self, id: TaskId) -> Result<CancelReply, BrokerError> {
        self.partitions.of(id).await?.cancel(id).await
    }

    async fn reap(&self, reaper: &Claimant) -> Result<Reaped, BrokerError> {
        // After a loss of data another process may have divided the queue otherwise.
        self.partitions.agree().await?;
        let asked = self.partitions.all().await?.iter().map(|partition| partition.reap(reaper));
        let mut sum = Reaped::default();
        for part in some("reap", join_all(asked).await)? {
            sum.requeued.extend(part.requeued);
            sum.cancelled.extend(part.cancelled);
            sum.expired.extend(part.expired);
            sum.exhausted.extend(part.exhausted);
        }
        Ok(sum)
    }

    async fn unlogged(
        &self,
        _span: Duration,
        _limit: usize,
    ) -> Result<Vec<TaskSnapshot>, BrokerError> {
        Ok(Vec::new())
    }

    async fn logged(&self, _ids: &[TaskId]) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn events(
        &self,
        id: TaskId,
        after: EventSeq,
        limit: usize,
    ) -> Result<Vec<Event>, BrokerError> {
        self.partitions.of(id).await?.events(id, after, limit).await
    }

    fn watch(&self, id: TaskId) -> Watch {
        let watch = self.hub.watch(id);
        self.listener.ensure_started();
        watch
    }

    fn cancellations(&self) -> CancelFeed {
        let feed = self.hub.cancellations();
        self.listener.ensure_started();
        feed
    }

    async fn depth(&self, model: &ModelId) -> Result<Depth, BrokerError> {
        let asked = self.partitions.all().await?.iter().map(|partition| partition.depth(model));
        let parts = all(join_all(asked).await)?;
        Ok(parts.iter().fold(Depth::default(), |sum, part| Depth {
            queued: sum.queued + part.queued,
            processing: sum.processing + part.processing,
        }))
    }

    async fn report_worker(
        &self,
        report: &WorkerReport,
        ttl: Duration,
    ) -> Result<WorkerOrders, BrokerError> {
        let asked = self.partitions.all().await?.iter();
        let asked = asked.map(|partition| partition.report_worker(report, ttl));
        let orders = some("report a worker", join_all(asked).await)?;
        Ok(WorkerOrders { drain: orders.iter().any(|orders| orders.drain) })
    }

    async fn forget_worker(&self, id: WorkerId) -> Result<(), BrokerError> {
        let asked = self.partitions.all().await?.iter().map(|part| part.forget_worker(id));
        all(join_all(asked).await).map(drop)
    }

    async fn workers(&self) -> Result<Vec<WorkerReport>, BrokerError> {
        // All know all workers: the first that answers will do.
        let mut failure = None;
        for partition in self.partitions.all().await? {
            match partition.workers().await {
                Ok(reports) => return Ok(reports),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(Vec::new()), Err)
    }
}

impl Partition {
    async fn ping(&self) -> Result<(), BrokerError> {
        // Unlike PING, a key leads to the node that has the partition.
        self.link.query(cmd("EXISTS").arg(self.keys.base())).await
    }

    async fn events(
        &self,
        id: TaskId,
        after: EventSeq,
        limit: usize,
    ) -> Result<Vec<Event>, BrokerError> {
        let mut range = cmd("XRANGE");
        range.arg(self.keys.events(id)).arg(format!("({after}-0")).arg("+");
        range.arg("COUNT").arg(limit);
        reply::events(self.link.query(&range).await?)
    }

    async fn depth(&self, model: &ModelId) -> Result<Depth, BrokerError> {
        let mut read = cmd("HMGET");
        read.arg(self.keys.stats(model)).arg("queued").arg("processing");
        let (queued, processing): (Option<u64>, Option<u64>) = self.link.query(&read).await?;
        Ok(Depth { queued: queued.unwrap_or(0), processing: processing.unwrap_or(0) })
    }

    async fn report_worker(
        &self,
        report: &WorkerReport,
        ttl: Duration,
    ) -> Result<WorkerOrders, BrokerError> {
        let Self { keys, scripts, link, .. } = self;
        let mut call = scripts.report_worker.prepare_invoke();
        call.key(keys.base()).key(keys.workers()).key(keys.seen());
        call.arg(report.id.to_string()).arg(record::encode(report)?).arg(millis(ttl));
        link.run(&call).await?;
        Ok(WorkerOrders::default())
    }

    async fn forget_worker(&self, id: WorkerId) -> Result<(), BrokerError> {
        let Self { keys, scripts, link, .. } = self;
        let mut call = scripts.forget_worker.prepare_invoke();
        call.key(keys.base()).key(keys.seen()).arg(id.to_string());
        link.run(&call).await.map(drop)
    }

    async fn workers(&self) -> Result<Vec<WorkerReport>, BrokerError> {
        let Self { keys, scripts, link, .. } = self;
        let mut call = scripts.workers.prepare_invoke();
        call.key(keys.base()).key(keys.workers()).key(keys.seen());
        Ok(stored::reports(link.run(&call).await?))
    }

    async fn renew(&self, lease: &Lease, span: Duration) -> Result<LeaseState, BrokerError> {
        let mut call = self.scripts.renew.prepare_invoke();
        call.key(self.keys.base()).key(self.keys.leases());
        call.arg(lease.task_id.to_string()).arg(lease.fence()).arg(millis(span));
        lease_state("renew", lease, self.link.run(&call).await?)
    }

    async fn publish(&self, lease: &Lease, chunks: &[String]) -> Result<LeaseState, BrokerError> {
        let mut call = self.scripts.publish.prepare_invoke();
        call.key(self.keys.base()).key(self.keys.events(lease.task_id));
        call.arg(lease.task_id.to_string()).arg(lease.fence()).arg(MAX_EVENTS);
        call.arg(stored::token_events(lease.attempt, chunks)?);
        lease_state("publish", lease, self.link.run(&call).await?)
    }

    pub(super) async fn finish(
        &self,
        lease: &Lease,
        outcome: &Outcome,
    ) -> Result<Timestamp, BrokerError> {
        let ending = Ending::of(outcome)?;
        let mut call = self.scripts.finish.prepare_invoke();
        call.key(self.keys.base()).arg(lease.task_id.to_string()).arg(lease.fence());
        call.arg(ending.state).arg(ending.outcome).arg(ending.event).arg(LATEST_WEIGHT);
        let mut reply = Reply::new("finish", self.link.run(&call).await?);
        match reply.text()?.as_str() {
            "recorded" => reply.instant(),
            "lost" => Err(lease.lost()),
            other => Err(reply.unexpected(other)),
        }
    }

    pub(super) async fn release(
        &self,
        lease: &Lease,
        release: &Release,
    ) -> Result<(), BrokerError> {
        let cancelled = Ending::cancelled()?;
        let mut call = self.scripts.release.prepare_invoke();
        call.key(self.keys.base()).arg(lease.task_id.to_string()).arg(lease.fence());
        call.arg(u8::from(matches!(release, Release::Failed { .. })));
        call.arg(stored::requeued_event(lease.attempt, release.reason())?);
        call.arg(cancelled.outcome).arg(cancelled.event);
        let mut reply = Reply::new("release", self.link.run(&call).await?);
        match reply.text()?.as_str() {
            "released" => Ok(()),
            "lost" => Err(lease.lost()),
            other => Err(reply.unexpected(other)),
        }
    }

    async fn cancel(&self, id: TaskId) -> Result<CancelReply, BrokerError> {
        let cancelled = Ending::cancelled()?;
        let mut call = self.scripts.cancel.prepare_invoke();
        call.key(self.keys.base()).arg(id.to_string());
        call.arg(cancelled.outcome).arg(cancelled.event);
        let mut reply = Reply::new("cancel", self.link.run(&call).await?);
        match reply.text()?.as_str() {
            "missing" => Ok(CancelReply::NotFound),
            "cancelled" => Ok(CancelReply::Cancelled),
            "requested" => Ok(CancelReply::Requested),
            "ended" => Ok(CancelReply::AlreadyEnded(reply.parse()?)),
            other => Err(reply.unexpected(other)),
        }
    }

    async fn reap(&self, reaper: &Claimant) -> Result<Reaped, BrokerError> {
        let (cancelled, expired) = (Ending::cancelled()?, Ending::expired()?);
        let mut reaped = Reaped::default();
        loop {
            let mut call = self.scripts.reap.prepare_invoke();
            call.key(self.keys.base()).key(self.keys.leases()).key(self.keys.reaper());
            call.arg(reaper.worker.to_string()).arg(millis(reaper.lease)).arg(REAP_BATCH);
            call.arg(record::VERSION).arg(&cancelled.outcome).arg(&cancelled.event);
            call.arg(stored::json_text(LEASE_RAN_OUT)).arg(&expired.outcome).arg(&expired.event);
            let mut reply = Reply::new("reap", self.link.run(&call).await?);
            let before = reaped.count();
            for _ in 0..reply.parse::<usize>()? {
                reaped.requeued.push(reply.parse()?);
            }
            for _ in 0..reply.parse::<usize>()? {
                reaped.cancelled.push(reply.parse()?);
            }
            for _ in 0..reply.parse::<usize>()? {
                reaped.expired.push(reply.parse()?);
            }
            let mut unreadable = 0;
            for _ in 0..reply.parse::<usize>()? {
                match reply.holding(reaper.worker)?.open() {
                    Ok(claimed) => reaped.exhausted.push(claimed),
                    Err((lease, outcome)) => {
                        unreadable += 1;
                        self.finish(&lease, &outcome).await?;
                    }
                }
            }
            if reaped.count() + unreadable - before < REAP_BATCH {
                return Ok(reaped);
            }
        }
    }

    async fn snapshot(&self, id: TaskId) -> Result<Option<TaskSnapshot>, BrokerError> {
        let mut read = cmd("HMGET");
        read.arg(self.keys.task(id)).arg(&SNAPSHOT_FIELDS);
        let row: SnapshotRow = self.link.query(&read).await?;
        let Some(mut snapshot) = reply::snapshot(row)? else { return Ok(None) };
        if snapshot.state == protocol::TaskState::Queued {
            snapshot.estimate = self.estimate(id).await?;
        }
        Ok(Some(snapshot))
    }
}

fn lease_state(
    script: &'static str,
    lease: &Lease,
    fields: Vec<String>,
) -> Result<LeaseState, BrokerError> {
    let mut reply = Reply::new(script, fields);
    match reply.text()?.as_str() {
        "held" => Ok(LeaseState { cancel_requested: reply.text()? == "1" }),
        "lost" => Err(lease.lost()),
        other => Err(reply.unexpected(other)),
    }
}
