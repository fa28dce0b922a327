//! Who runs now: what cancellations are looked up in, and what the report counts.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::TaskId;
use service::shutdown::CancellationToken;

use crate::Worker;

/// The tasks of a worker.
#[derive(Default)]
pub(crate) struct Running {
    cancels: Mutex<HashMap<TaskId, CancellationToken>>,
    finished: AtomicU64,
    draining: CancellationToken,
}

impl Running {
    /// Enters a task; it leaves when the guard drops.
    pub(crate) fn enter(&self, id: TaskId) -> Entered<'_> {
        let cancel = CancellationToken::new();
        self.cancels().insert(id, cancel.clone());
        Entered { running: self, id, cancel }
    }

    /// Asks a task to stop, if it runs here.
    fn cancel(&self, id: TaskId) {
        if let Some(cancel) = self.cancels().get(&id) {
            cancel.cancel();
        }
    }

    /// How many run.
    pub(crate) fn count(&self) -> usize {
        self.cancels().len()
    }

    /// How many have run.
    pub(crate) fn finished(&self) -> u64 {
        self.finished.load(Ordering::Relaxed)
    }

    /// Cancelled once nothing more is to be claimed.
    pub(crate) fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    fn cancels(&self) -> MutexGuard<'_, HashMap<TaskId, CancellationToken>> {
        // The map is whole even if a thread panicked while it held the lock.
        self.cancels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task's stay among the running ones.
pub(crate) struct Entered<'a> {
    running: &'a Running,
    id: TaskId,
    /// Cancelled when its owner wants the task stopped.
    pub(crate) cancel: CancellationToken,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.running.cancels().remove(&self.id);
        self.running.finished.fetch_add(1, Ordering::Relaxed);
    }
}

/// Passes the broker's wake-ups on to the tasks that run here. The durable flag that comes with every
/// renewal catches what is missed.
pub(crate) async fn follow_cancellations(worker: Arc<Worker>) {
    let mut feed = worker.broker.cancellations();
    loop {
        let id = feed.next().await;
        worker.running.cancel(id);
    }
}
