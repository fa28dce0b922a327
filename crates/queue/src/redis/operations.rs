//! The operators' side: all queues at a glance, and pausing them. Dead letters are in `dead.rs`.

use async_trait::async_trait;
use protocol::{ModelId, TaskId, WorkerId};

use super::dead::Kept;
use super::reply::Reply;
use super::{Inner, RedisBroker};
use crate::{
    Broker, BrokerError, DeadLetter, DeadLetterPage, Operations, Overview, Purge, QueueOverview,
    SubmitOptions, Submitted, replay,
};

#[async_trait]
impl Operations for RedisBroker {
    async fn overview(&self) -> Result<Overview, BrokerError> {
        self.inner.overview().await
    }

    async fn set_paused(&self, model: &ModelId, paused: bool) -> Result<(), BrokerError> {
        self.inner.set_paused(model, paused).await
    }

    async fn drain_worker(&self, id: WorkerId) -> Result<bool, BrokerError> {
        self.inner.drain_worker(id).await
    }

    async fn dead_letters(&self, page: &DeadLetterPage) -> Result<Vec<DeadLetter>, BrokerError> {
        self.inner.dead_letters(page).await
    }

    async fn dead_letter(&self, id: TaskId) -> Result<Option<DeadLetter>, BrokerError> {
        Ok(match self.inner.kept(id).await? {
            Some(Kept::Letter(letter)) => Some(*letter),
            Some(Kept::Replayed(_)) | None => None,
        })
    }

    async fn replay(&self, id: TaskId) -> Result<Option<Submitted>, BrokerError> {
        match self.inner.kept(id).await? {
            None => Ok(None),
            Some(Kept::Letter(letter)) => {
                let (task, options) = replay::again(&letter);
                let submitted = self.submit(&task, &options).await?;
                self.inner.replayed(id, submitted.task_id).await?;
                Ok(Some(submitted))
            }
            // Submitting a task that is there answers how it is.
            Some(Kept::Replayed(new)) => match self.snapshot(new).await? {
                Some(there) => self.submit(&there.task, &SubmitOptions::PLAIN).await.map(Some),
                None => Ok(None),
            },
        }
    }

    async fn purge_dead_letters(&self, which: &Purge) -> Result<u64, BrokerError> {
        self.inner.purge_dead_letters(which).await
    }
}

impl Inner {
    pub(super) async fn overview(&self) -> Result<Overview, BrokerError> {
        let mut call = self.scripts.overview.prepare_invoke();
        call.key(self.keys.base()).key(self.keys.models()).key(self.keys.totals());
        call.key(self.keys.dead_letters()).key(self.keys.hooks());
        let mut reply = Reply::new("overview", self.link.run(&call).await?);
        let mut overview = Overview {
            at: reply.instant()?,
            queued_bytes: reply.count()?,
            dead_letters: reply.count()?,
            webhooks_pending: reply.count()?,
            queues: Vec::new(),
        };
        while !reply.is_read() {
            overview.queues.push(QueueOverview {
                model: ModelId::new(reply.text()?),
                paused: reply.text()? == "1",
                queued: [reply.count()?, reply.count()?, reply.count()?, reply.count()?],
                delayed: reply.count()?,
                processing: reply.count()?,
                capacity: reply.count()?,
                service_ms: reply.parse()?,
                completed: reply.count()?,
                failed: reply.count()?,
                cancelled: reply.count()?,
            });
        }
        overview.queues.sort_by(|one, other| one.model.cmp(&other.model));
        Ok(overview)
    }

    pub(super) async fn set_paused(
        &self,
        model: &ModelId,
        paused: bool,
    ) -> Result<(), BrokerError> {
        let mut call = self.scripts.set_paused.prepare_invoke();
        call.key(self.keys.base()).key(self.keys.models());
        call.arg(model.as_str()).arg(u8::from(paused));
        self.link.run(&call).await.map(drop)
    }
}
