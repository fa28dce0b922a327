//! Tasks that ended without a worker, until somebody has logged them.

use std::time::Duration;

use protocol::{TaskId, TaskSnapshot};
use redis::cmd;

use super::claim::millis;
use super::partition::Partition;
use super::reply::Reply;
use crate::BrokerError;

/// At most so many are handed out at once, whatever the caller would take.
const MOST: usize = 1_000;

impl Partition {
    pub(super) async fn unlogged(
        &self,
        span: Duration,
        limit: usize,
    ) -> Result<Vec<TaskSnapshot>, BrokerError> {
        let mut call = self.scripts.unlogged.prepare_invoke();
        call.key(self.keys.base()).key(self.keys.unlogged());
        call.arg(millis(span)).arg(limit.min(MOST));
        let mut reply = Reply::new("unlogged", self.link.run(&call).await?);
        let mut snapshots = Vec::new();
        while !reply.is_read() {
            match reply.snapshot()?.read() {
                Ok(snapshot) => snapshots.push(snapshot),
                // Perhaps another version can; if none can, it goes with its outcome.
                Err(error) => tracing::warn!(%error, "an ended task can't be logged"),
            }
        }
        Ok(snapshots)
    }

    pub(super) async fn logged(&self, ids: &[TaskId]) -> Result<(), BrokerError> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut remove = cmd("ZREM");
        remove.arg(self.keys.unlogged());
        for id in ids {
            remove.arg(id.to_string());
        }
        self.link.query(&remove).await
    }
}
