//! Renews a task's lease while the task is computed.

use queue::{BrokerError, Lease};
use service::shutdown::CancellationToken;
use tokio::task::JoinHandle;

use crate::Worker;

/// Renewals per lease duration. Two in a row may fail before the lease expires.
const RENEWALS_PER_LEASE: u32 = 3;

/// A lease that is renewed until this is dropped.
pub(crate) struct KeptLease {
    renewals: JoinHandle<()>,
    /// Cancelled when the lease is lost: another worker may have the task, so stop and record nothing.
    pub(crate) lost: CancellationToken,
}

impl KeptLease {
    /// Starts to renew `lease` on the I/O threads. Cancels `cancel` when a renewal reports that the task is
    /// to be cancelled.
    pub(crate) fn keep(worker: &Worker, lease: Lease, cancel: CancellationToken) -> Self {
        let (broker, span) = (worker.broker.clone(), worker.options.lease);
        let lost = CancellationToken::new();
        let on_loss = lost.clone();
        let renewals = tokio::spawn(async move {
            loop {
                tokio::time::sleep(span / RENEWALS_PER_LEASE).await;
                match broker.renew(&lease, span).await {
                    Ok(state) if state.cancel_requested => cancel.cancel(),
                    Ok(_) => {}
                    Err(BrokerError::LeaseLost { .. }) => return on_loss.cancel(),
                    // The queue is unavailable, and does not reap leases meanwhile. Keep trying.
                    Err(error) => tracing::debug!(
                        target: "worker.lease", task_id = %lease.task_id, "cannot renew the lease: {error}"
                    ),
                }
            }
        });
        Self { renewals, lost }
    }
}

impl Drop for KeptLease {
    fn drop(&mut self) {
        self.renewals.abort();
    }
}
