//! What only reads a task or a queue: snapshot, expired, events, depth.

use protocol::{Event, EventSeq, ModelId, TaskId, TaskSnapshot, TaskState, TenantId};
use redis::cmd;

use super::partition::Partition;
use super::reply::{self, Reply};
use super::submit::standing;
use crate::{BrokerError, Depth};

impl Partition {
    pub(super) async fn snapshot(&self, id: TaskId) -> Result<Option<TaskSnapshot>, BrokerError> {
        let mut call = self.scripts.snapshot.prepare_invoke();
        call.key(self.keys.base()).arg(id.to_string());
        let mut reply = Reply::new("snapshot", self.link.run(&call).await?);
        match reply.text()?.as_str() {
            "none" => Ok(None),
            "task" => {
                let mut snapshot = reply.snapshot()?.read()?;
                if snapshot.state == TaskState::Queued {
                    snapshot.estimate = Some(standing(&mut reply, self)?.estimate());
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
        let mut range = cmd("XRANGE");
        range.arg(self.keys.events(id)).arg(format!("(0-{after}")).arg("+");
        range.arg("COUNT").arg(limit);
        reply::events(self.link.query(&range).await?)
    }

    pub(super) async fn depth(&self, model: &ModelId) -> Result<Depth, BrokerError> {
        let mut read = cmd("HMGET");
        read.arg(self.keys.stats(model)).arg("processing").arg("delayed");
        read.arg("queued:high").arg("queued:normal").arg("queued:low").arg("queued:batch");
        let counted: Vec<Option<i64>> = self.link.query(&read).await?;
        let sum = |some: &[Option<i64>]| some.iter().flatten().sum::<i64>();
        let count = |sum: i64| u64::try_from(sum).unwrap_or(0);
        let (running, waiting) = counted.split_at(counted.len().min(1));
        Ok(Depth { queued: count(sum(waiting)), processing: count(sum(running)) })
    }
}
