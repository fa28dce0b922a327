//! Implements the [`Broker`] contract: an operation on a task goes to its partition, the others to all
//! partitions. On each, an operation is one script or one command of [`Partition`].

use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use protocol::{
    Chunk, Event, EventSeq, ModelId, Outcome, Task, TaskId, TaskSnapshot, TenantId, Timestamp,
    WorkerId, WorkerReport,
};
use redis::cmd;

use super::RedisBroker;
use super::partition::Partition;
use super::partitions::{all, some};
use crate::watch::{CancelFeed, Watch};
use crate::{
    Broker, BrokerError, CancelReply, Claimant, Claimed, Depth, Fitness, Lease, LeaseState, Reaped,
    Release, Room, SubmitOptions, Submitted, Unlogged, WorkerOrders,
};

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

    async fn accepts(&self) -> Result<(), BrokerError> {
        self.partitions.agree().await?;
        let asked = self.partitions.all().await?.iter().map(|partition| partition.accepts());
        all(join_all(asked).await).map(drop)
    }

    async fn vet(&self) -> Result<Fitness, BrokerError> {
        self.servers.vet().await
    }

    async fn submit(&self, task: &Task, options: &SubmitOptions) -> Result<Submitted, BrokerError> {
        let (partition, task) = self.partitions.for_new(task, options).await?;
        partition.submit(&task, options).await
    }

    async fn snapshot(&self, id: TaskId) -> Result<Option<TaskSnapshot>, BrokerError> {
        self.partitions.of(id).await?.snapshot(id).await
    }

    async fn expired(&self, id: TaskId) -> Result<Option<TenantId>, BrokerError> {
        self.partitions.of(id).await?.expired(id).await
    }

    async fn claim_into(
        &self,
        claimant: &Claimant,
        room: Room,
        wait: Duration,
    ) -> Result<Vec<Claimed>, BrokerError> {
        self.claim_within(claimant, room, wait).await
    }

    async fn renew(&self, lease: &Lease, span: Duration) -> Result<LeaseState, BrokerError> {
        self.partitions.of(lease.task_id).await?.renew(lease, span).await
    }

    async fn publish(
        &self,
        lease: &Lease,
        from: u64,
        chunks: &[Chunk],
    ) -> Result<LeaseState, BrokerError> {
        self.partitions.of(lease.task_id).await?.publish(lease, from, chunks).await
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
        // After a loss of data, another process may have chosen another number of partitions. If that
        // can't be checked now, the others are reaped nevertheless.
        let agreed = self.partitions.agree().await;
        if let Err(error) = agreed {
            tracing::debug!(%error, "cannot read the number of partitions");
        }
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

    async fn unlogged(&self, span: Duration, limit: usize) -> Result<Vec<Unlogged>, BrokerError> {
        let mut parts = Vec::new();
        let mut left = limit;
        for partition in self.partitions.all().await? {
            if left > 0 {
                let part = partition.unlogged(span, left).await;
                left = left.saturating_sub(part.as_ref().map_or(0, Vec::len));
                parts.push(part);
            }
        }
        some("list ended tasks", parts).map(|parts| parts.concat())
    }

    fn note_logged(&self, id: TaskId) {
        self.partitions.of_known(id).written.note(id);
    }

    async fn logged(&self, ids: &[TaskId]) -> Result<(), BrokerError> {
        let parts = self.partitions.group(ids).await?;
        all(join_all(parts.iter().map(|(part, ids)| part.logged(ids))).await).map(drop)
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
        // All partitions have the reports of all workers: the first reply suffices.
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
        // Unlike PING, a command with a key is routed to the node that has the partition.
        self.link.query(cmd("EXISTS").arg(self.keys.base())).await
    }

    async fn accepts(&self) -> Result<(), BrokerError> {
        let mut call = self.scripts.room.prepare_invoke();
        call.key(self.keys.base());
        self.link.run(&call).await.map(drop)
    }
}
