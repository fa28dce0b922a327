//! Cancel and reap: ends and retries of tasks without their lease's holder.

use std::sync::Arc;

use protocol::{ErrorType, TaskError, TaskId};

use super::partition::Partition;
use super::reply::Reply;
use super::scripts::millis;
use crate::stored::{self, Ending, LEASE_EXPIRED};
use crate::{BrokerError, CancelReply, Claimant, Reaped, retry};

/// The maximum number of leases per call of `reap.lua`; if more have expired, it runs again.
const REAP_BATCH: usize = 64;

impl Partition {
    pub(super) async fn cancel(&self, id: TaskId) -> Result<CancelReply, BrokerError> {
        let cancelled = Ending::cancelled()?;
        let mut call = self.scripts.cancel.prepare_invoke();
        call.key(self.keys.base()).arg(id.to_string());
        call.arg(cancelled.outcome);
        let mut reply = Reply::new("cancel", self.link.run(&call).await?);
        match reply.text()?.as_str() {
            "missing" => Ok(CancelReply::NotFound),
            "cancelled" => Ok(CancelReply::Cancelled),
            "requested" => Ok(CancelReply::Requested),
            "ended" => Ok(CancelReply::AlreadyEnded(reply.parse()?)),
            other => Err(reply.unexpected(other)),
        }
    }

    pub(super) async fn reap(self: &Arc<Self>, reaper: &Claimant) -> Result<Reaped, BrokerError> {
        let (cancelled, expired) = (Ending::cancelled()?, Ending::expired()?);
        let error = stored::json(&TaskError::new(ErrorType::WorkerLost, LEASE_EXPIRED))?;
        let mut reaped = Reaped::default();
        loop {
            let mut call = self.scripts.reap.prepare_invoke();
            call.key(self.keys.base()).key(self.keys.leases()).key(self.keys.reaper());
            call.arg(reaper.worker.to_string()).arg(millis(reaper.lease)).arg(REAP_BATCH);
            call.arg(&cancelled.outcome).arg(&expired.outcome);
            call.arg(stored::json_text(LEASE_EXPIRED)).arg(&error);
            call.arg(retry::jitter());
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
                    Err(task) => {
                        let (lease, outcome) = *task;
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
}
