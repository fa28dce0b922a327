//! The signals that end the claiming of tasks.

use service::shutdown::CancellationToken;

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
