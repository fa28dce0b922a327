//! The operators' side: the overview of all queues, and pausing them. Dead letters are in `dead.rs`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use async_trait::async_trait;
use futures::future::join_all;
use protocol::{ModelId, TaskId, Timestamp, WorkerId};

use super::RedisBroker;
use super::dead::Kept;
use super::partition::Partition;
use super::partitions::{all, some};
use super::reply::Reply;
use crate::{
    Broker, BrokerError, DeadLetter, DeadLetterPage, Operations, Overview, Purge, QueueOverview,
    Submitted, replay,
};

#[async_trait]
impl Operations for RedisBroker {
    async fn overview(&self) -> Result<Overview, BrokerError> {
        let asked = self.partitions.all().await?.iter().map(|partition| partition.overview());
        all(join_all(asked).await).map(sum)
    }

    async fn set_paused(&self, model: &ModelId, paused: bool) -> Result<(), BrokerError> {
        let asked = self.partitions.all().await?.iter();
        let asked = asked.map(|partition| partition.set_paused(model, paused));
        all(join_all(asked).await).map(drop)
    }

    async fn drain_worker(&self, id: WorkerId) -> Result<bool, BrokerError> {
        let asked = self.partitions.all().await?.iter().map(|part| part.drain_worker(id));
        // One partition with the order suffices: it returns the order to the worker.
        let ordered = some("drain a worker", join_all(asked).await)?;
        Ok(ordered.contains(&true))
    }

    async fn dead_letters(&self, page: &DeadLetterPage) -> Result<Vec<DeadLetter>, BrokerError> {
        let asked = self.partitions.all().await?.iter().map(|part| part.dead_letters(page));
        let mut letters = all(join_all(asked).await)?.concat();
        letters.sort_by_key(|letter| std::cmp::Reverse(letter.died_at));
        letters.truncate(page.limit);
        Ok(letters)
    }

    async fn dead_letter(&self, id: TaskId) -> Result<Option<DeadLetter>, BrokerError> {
        Ok(match self.partitions.of(id).await?.kept(id).await? {
            Some(Kept::Letter(letter)) => Some(*letter),
            Some(Kept::Replayed(_)) | None => None,
        })
    }

    async fn replay(&self, id: TaskId) -> Result<Option<Submitted>, BrokerError> {
        let partition = self.partitions.of(id).await?;
        match partition.kept(id).await? {
            None => Ok(None),
            Some(Kept::Letter(letter)) => {
                let (task, options) = replay::again(&letter);
                let submitted = self.submit(&task, &options).await?;
                partition.replayed(id, submitted.task_id).await?;
                Ok(Some(submitted))
            }
            Some(Kept::Replayed(new)) => self.partitions.of(new).await?.accepted(new).await,
        }
    }

    async fn purge_dead_letters(&self, which: &Purge) -> Result<u64, BrokerError> {
        let asked = self.partitions.all().await?.iter();
        let asked = asked.map(|partition| partition.purge_dead_letters(which));
        all(join_all(asked).await).map(|deleted| deleted.iter().sum())
    }
}

/// Merges the overviews of several partitions.
fn sum(parts: Vec<Overview>) -> Overview {
    let mut sum = Overview {
        at: Timestamp::from_millis(0),
        queues: Vec::new(),
        queued_bytes: 0,
        dead_letters: 0,
        webhooks_pending: 0,
    };
    let mut queues = BTreeMap::<ModelId, QueueOverview>::new();
    for part in parts {
        sum.at = sum.at.max(part.at);
        sum.queued_bytes += part.queued_bytes;
        sum.dead_letters += part.dead_letters;
        sum.webhooks_pending += part.webhooks_pending;
        for queue in part.queues {
            match queues.entry(queue.model.clone()) {
                Entry::Vacant(first) => drop(first.insert(queue)),
                Entry::Occupied(mut known) => add(known.get_mut(), queue),
            }
        }
    }
    sum.queues = queues.into_values().collect();
    sum
}

/// Adds one partition's part of a model's queue to the sum.
fn add(sum: &mut QueueOverview, part: QueueOverview) {
    let ended = |queue: &QueueOverview| (queue.completed + queue.failed + queue.cancelled) as f64;
    let (before, more) = (ended(sum), ended(&part));
    if sum.service_ms <= 0.0 {
        sum.service_ms = part.service_ms;
    } else if part.service_ms > 0.0 && before + more > 0.0 {
        // Each partition has its own average: weight it by the number of measurements.
        sum.service_ms = (sum.service_ms * before + part.service_ms * more) / (before + more);
    }
    sum.paused |= part.paused;
    for (sum, part) in sum.queued.iter_mut().zip(part.queued) {
        *sum += part;
    }
    sum.delayed += part.delayed;
    sum.processing += part.processing;
    // Every partition has the reports of all workers.
    sum.capacity = sum.capacity.max(part.capacity);
    sum.completed += part.completed;
    sum.failed += part.failed;
    sum.cancelled += part.cancelled;
}

impl Partition {
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
