//! The signals that end the claiming of tasks.

use std::time::Duration;

use service::shutdown::CancellationToken;

/// The time for which one claim waits for a task. A stopping worker may notice this late, since a
/// pending claim is never dropped: it may already have a task.
pub(crate) const CLAIM_WAIT: Duration = Duration::from_secs(1);

/// The signals that end the claiming of a model's tasks.
pub(crate) struct Until {
    /// The process is to end. Running tasks have the drain time to finish.
    pub(crate) shutdown: CancellationToken,
    /// This worker claims no more tasks.
    pub(crate) draining: CancellationToken,
    /// No more tasks are claimed for this model, which makes room for another.
    pub(crate) leave: CancellationToken,
    /// Running tasks are to be given back to the queue.
    pub(crate) abandon: CancellationToken,
}

impl Until {
    /// Waits for any of the first three.
    pub(crate) async fn over(&self) {
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            () = self.draining.cancelled() => {}
            () = self.leave.cancelled() => {}
        }
    }
}
