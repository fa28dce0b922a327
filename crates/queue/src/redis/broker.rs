//! The [`Broker`] contract: each operation is one script or one command of [`Inner`].

use std::time::Duration;

use async_trait::async_trait;
use protocol::{
    Event, EventSeq, ModelId, Outcome, Task, TaskId, TaskSnapshot, TenantId, Timestamp, WorkerId,
    WorkerReport,
};
use redis::cmd;

use super::RedisBroker;
use crate::watch::{CancelFeed, Watch};
use crate::{
    Broker, BrokerError, CancelReply, Claimant, Claimed, Depth, Lease, LeaseState, Reaped, Release,
    SubmitOptions, Submitted, WorkerOrders,
};

#[async_trait]
impl Broker for RedisBroker {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn ping(&self) -> Result<(), BrokerError> {
        self.inner.link.query(&cmd("PING")).await
    }

    async fn submit(&self, task: &Task, options: &SubmitOptions) -> Result<Submitted, BrokerError> {
        self.inner.submit(task, options).await
    }

    async fn snapshot(&self, id: TaskId) -> Result<Option<TaskSnapshot>, BrokerError> {
        self.inner.snapshot(id).await
    }

    async fn expired(&self, id: TaskId) -> Result<Option<TenantId>, BrokerError> {
        self.inner.expired(id).await
    }

    async fn claim(
        &self,
        claimant: &Claimant,
        wait: Duration,
    ) -> Result<Option<Claimed>, BrokerError> {
        self.claim_within(claimant, wait).await
    }

    async fn renew(&self, lease: &Lease, span: Duration) -> Result<LeaseState, BrokerError> {
        self.inner.renew(lease, span).await
    }

    async fn publish(
        &self,
        lease: &Lease,
        from: u64,
        chunks: &[String],
    ) -> Result<LeaseState, BrokerError> {
        self.inner.publish(lease, from, chunks).await
    }

    async fn finish(&self, lease: &Lease, outcome: &Outcome) -> Result<Timestamp, BrokerError> {
        self.inner.finish(lease, outcome).await
    }

    async fn release(&self, lease: &Lease, release: &Release) -> Result<(), BrokerError> {
        self.inner.release(lease, release).await
    }

    async fn cancel(&self, id: TaskId) -> Result<CancelReply, BrokerError> {
        self.inner.cancel(id).await
    }

    async fn reap(&self, reaper: &Claimant) -> Result<Reaped, BrokerError> {
        self.inner.reap(reaper).await
    }

    async fn unlogged(
        &self,
        span: Duration,
        limit: usize,
    ) -> Result<Vec<TaskSnapshot>, BrokerError> {
        self.inner.unlogged(span, limit).await
    }

    async fn logged(&self, ids: &[TaskId]) -> Result<(), BrokerError> {
        self.inner.logged(ids).await
    }

    async fn events(
        &self,
        id: TaskId,
        after: EventSeq,
        limit: usize,
    ) -> Result<Vec<Event>, BrokerError> {
        self.inner.events(id, after, limit).await
    }

    fn watch(&self, id: TaskId) -> Watch {
        let watch = self.inner.hub.watch(id);
        self.inner.listener.ensure_started();
        watch
    }

    fn cancellations(&self) -> CancelFeed {
        let feed = self.inner.hub.cancellations();
        self.inner.listener.ensure_started();
        feed
    }

    async fn depth(&self, model: &ModelId) -> Result<Depth, BrokerError> {
        self.inner.depth(model).await
    }

    async fn report_worker(
        &self,
        report: &WorkerReport,
        ttl: Duration,
    ) -> Result<WorkerOrders, BrokerError> {
        self.inner.report_worker(report, ttl).await
    }

    async fn forget_worker(&self, id: WorkerId) -> Result<(), BrokerError> {
        self.inner.forget_worker(id).await
    }

    async fn workers(&self) -> Result<Vec<WorkerReport>, BrokerError> {
        self.inner.workers().await
    }
}
