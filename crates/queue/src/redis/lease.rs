//! Operations of a lease's holder: renew, publish, release; finish is in `work.rs`.

use std::time::Duration;

use protocol::Chunk;

use super::partition::Partition;
use super::reply::{self, Reply};
use super::scripts::millis;
use crate::stored::{self, Ending};
use crate::{BrokerError, Lease, LeaseState, Release};

impl Partition {
    pub(super) async fn renew(
        &self,
        lease: &Lease,
        span: Duration,
    ) -> Result<LeaseState, BrokerError> {
        let mut call = self.scripts.renew.prepare_invoke();
        call.key(self.keys.base()).key(self.keys.leases());
        call.arg(lease.task_id.to_string()).arg(lease.fence()).arg(millis(span));
        lease_state("renew", lease, self.link.run(&call).await?)
    }

    pub(super) async fn publish(
        &self,
        lease: &Lease,
        from: u64,
        chunks: &[Chunk],
    ) -> Result<LeaseState, BrokerError> {
        let mut call = self.scripts.publish.prepare_invoke();
        call.key(self.keys.base()).key(self.keys.events(lease.task_id));
        call.key(self.keys.task(lease.task_id));
        call.arg(lease.task_id.to_string()).arg(lease.fence()).arg(from);
        for chunk in chunks {
            call.arg(reply::token(lease.attempt, chunk)?);
        }
        lease_state("publish", lease, self.link.run(&call).await?)
    }

    pub(super) async fn release(
        &self,
        lease: &Lease,
        release: &Release,
    ) -> Result<(), BrokerError> {
        let cancelled = Ending::cancelled()?;
        let mut call = self.scripts.release.prepare_invoke();
        call.key(self.keys.base()).arg(lease.task_id.to_string()).arg(lease.fence());
        match release {
            Release::Unused => call.arg("").arg(0),
            Release::Failed { error, retry_in } => {
                call.arg(stored::json(error)?).arg(millis(*retry_in))
            }
        };
        call.arg(stored::requeued_event(lease.attempt, release.reason())?);
        call.arg(cancelled.outcome);
        let mut reply = Reply::new("release", self.link.run(&call).await?);
        match reply.text()?.as_str() {
            "released" => Ok(()),
            "lost" => Err(lease.lost()),
            other => Err(reply.unexpected(other)),
        }
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
