//! Keeps one lease beside the computation.

use std::sync::Arc;
use std::time::Duration;

use queue::{Broker, BrokerError, Lease};
use service::shutdown::CancellationToken;
use tokio::task::JoinHandle;

/// Renewals per lease: two may fail before the lease runs out.
const RENEWALS_PER_LEASE: u32 = 3;

/// A lease that is renewed until this drops.
pub(crate) struct KeptLease {
    renewals: JoinHandle<()>,
    /// Cancelled when the task belongs to somebody else by now: stop, and record nothing.
    pub(crate) lost: CancellationToken,
}

impl KeptLease {
    /// Renews `lease` to `span` from now, again and again, on the I/O threads. `cancel` is cancelled
    /// when a renewal says that the owner wants the task stopped.
    pub(crate) fn keep(
        broker: Arc<dyn Broker>,
        lease: Lease,
        span: Duration,
        cancel: CancellationToken,
    ) -> Self {
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
