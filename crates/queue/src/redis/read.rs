//! Read-only operations on tasks and queues: snapshot, expired, events, depth.

use protocol::{Event, EventSeq, ModelId, TaskId, TaskSnapshot, TaskState, TenantId};
use redis::cmd;

use super::partition::Partition;
use super::reply::{self, Reply};
use super::submit::standing;
use crate::{BrokerError, Depth};

/// The highest number of an event: scripts count exactly up to this.
const LAST_NUMBER: u64 = 1 << 52;

/// A limit above the number of events that a task keeps.
const MOST_EVENTS: usize = 100_000;

impl Partition {
    pub(super) async fn snapshot(&self, id: TaskId) -> Result<Option<TaskSnapshot>, BrokerError> {
        let mut call = self.scripts.snapshot.prepare_invoke();
        call.key(self.keys.base()).arg(id.to_string());
        let mut reply = Reply::new("snapshot", self.link.run(&call).await?);
        match reply.text()?.as_str() {
            "none" => Ok(None),
            "task" => {
                let mut snapshot = reply.snapshot(id)?.read()?;
                if snapshot.state == TaskState::Queued {
                    let mut words = Reply::words("snapshot", &reply.text()?);
                    snapshot.estimate = Some(standing(&mut words, self)?.estimate());
                }
                Ok(Some(snapshot))
            }
            other => Err(reply.unexpected(other)),
        }
    }

    pub(super) async fn expired(&self, id: TaskId) -> Result<Option<TenantId>, BrokerError> {
        let mut call = self.scripts.expired.prepare_invoke();
        call.key(self.keys.base()).arg(id.to_string());
        let tenant = self.link.run(&call).await?.into_iter().next();
        Ok(tenant.map(TenantId::new))
    }

    pub(super) async fn events(
        &self,
        id: TaskId,
        after: EventSeq,
        limit: usize,
    ) -> Result<Vec<Event>, BrokerError> {
        let mut call = self.scripts.events.prepare_invoke();
        call.key(self.keys.base()).key(self.keys.task(id)).key(self.keys.events(id));
        call.arg(after.get().min(LAST_NUMBER)).arg(limit.min(MOST_EVENTS)).arg(id.to_string());
        let mut reply = Reply::new("events", self.link.run(&call).await?);
        if limit == 0 || reply.is_read() {
            return Ok(Vec::new());
        }
        let first: u64 = reply.parse()?;
        let texts = reply.rest();
        texts
            .iter()
            .zip(first..)
            .map(|(text, seq)| reply::event(EventSeq::new(seq), text))
            .collect()
    }

    pub(super) async fn depth(&self, model: &ModelId) -> Result<Depth, BrokerError> {
        let mut read = cmd("HMGET");
        read.arg(self.keys.stats(model)).arg("processing").arg("delayed");
        read.arg("lane:high").arg("lane:normal").arg("lane:low").arg("lane:batch");
        let counted: Vec<Option<String>> = self.link.query(&read).await?;
        // The first of a lane's numbers is the count of its queued tasks.
        let first = |text: &String| text.split(' ').next()?.parse::<i64>().ok();
        let sum = |some: &[Option<String>]| some.iter().flatten().filter_map(first).sum::<i64>();
        let count = |sum: i64| u64::try_from(sum).unwrap_or(0);
        let (running, waiting) = counted.split_at(counted.len().min(1));
        Ok(Depth { queued: count(sum(waiting)), processing: count(sum(running)) })
    }
}
