//! Keeps one lease beside the computation.

use queue::{BrokerError, Lease};
use service::shutdown::CancellationToken;
use tokio::task::JoinHandle;

use crate::Worker;

/// Renewals per lease: two may fail before the lease runs out.
const RENEWALS_PER_LEASE: u32 = 3;

/// A lease that is renewed until this drops.
pub(crate) struct KeptLease {
    renewals: JoinHandle<()>,
    /// Cancelled when the task belongs to somebody else by now: stop, and record nothing.
    pub(crate) lost: CancellationToken,
}

impl KeptLease {
    /// Renews a worker's `lease`, again and again, on the I/O threads. `cancel` is cancelled when a renewal
    /// says that the owner wants the task stopped.
    pub(crate) fn keep(worker: &Worker, lease: Lease, cancel: CancellationToken) -> Self {
        let (broker, span) = (worker.broker.clone(), worker.options.lease);
        let lost = CancellationToken::new();
        let told = lost.clone();
        let renewals = tokio::spawn(async move {
            loop {
                tokio::time::sleep(span / RENEWALS_PER_LEASE).await;
                match broker.renew(&lease, span).await {
                    Ok(state) if state.cancel_requested => cancel.cancel(),
                    Ok(_) => {}
                    Err(BrokerError::LeaseLost { .. }) => return told.cancel(),
                    // The queue is away: it also reaps nobody then. Go on, and ask again.
                    Err(error) => tracing::debug!(
                        target: "worker.lease", task_id = %lease.task_id, "not renewed: {error}"
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
