//! Ended tasks whose log lines are pending.

use std::time::Duration;

use protocol::TaskId;

use super::partition::Partition;
use super::reply::Reply;
use super::scripts::millis;
use crate::{BrokerError, Unlogged};

/// The maximum number returned at once, whatever the caller's limit.
const MOST: usize = 1_000;

impl Partition {
    pub(super) async fn unlogged(
        &self,
        span: Duration,
        limit: usize,
    ) -> Result<Vec<Unlogged>, BrokerError> {
        let written = self.written.take();
        let mut call = self.scripts.unlogged.prepare_invoke();
        call.key(self.keys.base()).key(self.keys.unlogged()).key(self.keys.unlogged_texts());
        call.arg(millis(span)).arg(limit.min(MOST));
        for id in &written {
            call.arg(id.to_string());
        }
        let answer = self.link.run(&call).await.inspect_err(|_| self.written.put_back(written))?;
        let mut reply = Reply::new("unlogged", answer);
        let mut due = Vec::new();
        while !reply.is_read() {
            let id = reply.parse()?;
            let perhaps_written = reply.optional()?.map(Duration::from_millis);
            match reply.snapshot(id)?.read() {
                Ok(end) => due.push(Unlogged { end, perhaps_written }),
                // Another version may be able to read it; if none can, it expires with its outcome.
                Err(error) => {
                    tracing::warn!(%error, task_id = %id, "cannot write the log line of an ended task")
                }
            }
        }
        Ok(due)
    }

    /// Acknowledges these tasks and all that were noted and not acknowledged yet.
    pub(super) async fn logged(&self, ids: &[TaskId]) -> Result<(), BrokerError> {
        ids.iter().for_each(|id| self.written.note(*id));
        loop {
            let written = self.written.take();
            if written.is_empty() {
                return Ok(());
            }
            let mut call = self.scripts.logged.prepare_invoke();
            call.key(self.keys.base());
            for id in &written {
                call.arg(id.to_string());
            }
            self.link.run(&call).await.inspect_err(|_| self.written.put_back(written))?;
        }
    }
}
