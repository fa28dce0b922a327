//! The tasks that a worker runs now, to cancel them by id and to count them for its report.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::TaskId;
use service::shutdown::CancellationToken;

use crate::Worker;

/// The running tasks of a worker.
#[derive(Default)]
pub(crate) struct Running {
    cancels: Mutex<HashMap<TaskId, CancellationToken>>,
    finished: AtomicU64,
    draining: CancellationToken,
}

impl Running {
    /// Adds a task. Dropping the returned guard removes it.
    pub(crate) fn enter(&self, id: TaskId) -> RunningGuard<'_> {
        let cancel = CancellationToken::new();
        self.cancels().insert(id, cancel.clone());
        RunningGuard { running: self, id, cancel }
    }

    /// Cancels a task, if it runs here.
    fn cancel(&self, id: TaskId) {
        if let Some(cancel) = self.cancels().get(&id) {
            cancel.cancel();
        }
    }

    /// Returns the number of running tasks.
    pub(crate) fn count(&self) -> usize {
        self.cancels().len()
    }

    /// Returns the number of tasks that have ended, since the start.
    pub(crate) fn finished(&self) -> u64 {
        self.finished.load(Ordering::Relaxed)
    }

    /// Returns the token that is cancelled when this worker must not claim any more tasks.
    pub(crate) fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    fn cancels(&self) -> MutexGuard<'_, HashMap<TaskId, CancellationToken>> {
        // No operation on the map can leave it inconsistent, so a poisoned lock is usable.
        self.cancels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The guard of a running task.
pub(crate) struct RunningGuard<'a> {
    running: &'a Running,
    id: TaskId,
    /// Cancelled when the task is to be cancelled.
    pub(crate) cancel: CancellationToken,
}

impl Drop for RunningGuard<'_> {
    fn drop(&mut self) {
        self.running.cancels().remove(&self.id);
        self.running.finished.fetch_add(1, Ordering::Relaxed);
    }
}

/// Passes the broker's cancellations on to the tasks that run here. A missed one is noticed at the next renewal
/// of the lease, which returns a durable flag.
pub(crate) async fn follow_cancellations(worker: Arc<Worker>) {
    let mut feed = worker.broker.cancellations();
    loop {
        let id = feed.next().await;
        worker.running.cancel(id);
    }
}
