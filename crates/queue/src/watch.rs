//! Wake-ups: hints that something happened, so that nobody has to poll.
//!
//! One hub per broker. Whatever learns of a change (the embedded broker after a commit, the
//! Redis broker from its one pub/sub connection) tells the hub; the hub wakes who waits. A hint may
//! come late, twice, for nothing, or not at all: the truth is in the store, so read it after each
//! wake, and also now and then without one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::TaskId;
use tokio::sync::{broadcast, watch};

/// Cancellations that a slow reader may fall behind before it misses some.
const CANCEL_BACKLOG: usize = 1024;

/// Knows who waits for which task, and wakes them.
#[derive(Debug)]
pub(crate) struct Hub {
    /// One line per watched task, shared by all its watchers; gone with the last of them.
    watched: Mutex<HashMap<TaskId, watch::Sender<()>>>,
    cancelled: broadcast::Sender<TaskId>,
}

impl Hub {
    pub(crate) fn new() -> Arc<Self> {
        let (cancelled, _) = broadcast::channel(CANCEL_BACKLOG);
        Arc::new(Self { watched: Mutex::default(), cancelled })
    }

    /// Registers interest in a task.
    pub(crate) fn watch(self: &Arc<Self>, id: TaskId) -> Watch {
        let wakes = self.lock().entry(id).or_insert_with(|| watch::channel(()).0).subscribe();
        Watch { id, wakes, hub: Arc::clone(self) }
    }

    /// Registers interest in all cancellations.
    pub(crate) fn cancellations(self: &Arc<Self>) -> CancelFeed {
        CancelFeed { ids: self.cancelled.subscribe(), _hub: Arc::clone(self) }
    }

    /// Something happened to a task.
    pub(crate) fn wake(&self, id: TaskId) {
        if let Some(line) = self.lock().get(&id) {
            line.send_replace(());
        }
    }

    /// Hints may have been missed: everyone should look again.
    pub(crate) fn wake_all(&self) {
        for line in self.lock().values() {
            line.send_replace(());
        }
    }

    /// The owner of a running task wants it cancelled.
    pub(crate) fn cancel(&self, id: TaskId) {
        // An error means that nobody listens, which is fine for a hint.
        let _ = self.cancelled.send(id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, watch::Sender<()>>> {
        // No code panics while it holds the lock, and the map is valid between any two statements.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wake-up line for one task. Dropping it ends the interest.
#[derive(Debug)]
pub struct Watch {
    id: TaskId,
    wakes: watch::Receiver<()>,
    /// Keeps the line's other end alive, and is told when this end goes.
    hub: Arc<Hub>,
}

impl Watch {
    /// Waits until something may have happened to the task since the last call (since
    /// [`Broker::watch`](crate::Broker::watch) for the first). Wakes that come close together count
    /// once. Cancel-safe: no wake is lost when the future is dropped.
    pub async fn changed(&mut self) {
        if self.wakes.changed().await.is_err() {
            // The hub, which lives as long as this, never drops the sender of a watched task.
            std::future::pending::<()>().await;
        }
    }

    /// The task.
    pub fn id(&self) -> TaskId {
        self.id
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = self.hub.lock();
        // New watchers subscribe under the same lock, so a count of one is this watch alone.
        if watched.get(&self.id).is_some_and(|line| line.receiver_count() == 1) {
            watched.remove(&self.id);
        }
    }
}

/// Names tasks whose cancellation was asked for while a worker held them.
#[derive(Debug)]
pub struct CancelFeed {
    ids: broadcast::Receiver<TaskId>,
    /// Keeps the sender alive.
    _hub: Arc<Hub>,
}

impl CancelFeed {
    /// Waits for the next. The same task may be named more than once, and tasks that other workers
    /// hold are named as well. A reader that falls far behind misses some: the durable flag comes
    /// with the next renewal. Cancel-safe.
    pub async fn next(&mut self) -> TaskId {
        loop {
            match self.ids.recv().await {
                Ok(id) => return id,
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn wakes_reach_the_tasks_watchers_and_nobody_else() {
        let hub = Hub::new();
        let (id, other) = (TaskId::new(), TaskId::new());
        let (mut first, mut second, mut bystander) =
            (hub.watch(id), hub.watch(id), hub.watch(other));
        hub.wake(id);
        hub.wake(id);
        first.changed().await;
        second.changed().await;
        assert!(first.changed().now_or_never().is_none(), "two close wakes count once");
        assert!(bystander.changed().now_or_never().is_none());
        hub.wake_all();
        bystander.changed().await;
    }

    #[tokio::test]
    async fn a_dropped_future_loses_no_wake() {
        let hub = Hub::new();
        let mut watch = hub.watch(TaskId::new());
        let early = tokio::time::timeout(Duration::from_millis(5), watch.changed()).await;
        assert!(early.is_err());
        hub.wake(watch.id());
        watch.changed().await;
    }

    #[test]
    fn the_last_watcher_takes_the_line_with_it() {
        let hub = Hub::new();
        let id = TaskId::new();
        let (first, second) = (hub.watch(id), hub.watch(id));
        drop(first);
        assert_eq!(hub.lock().len(), 1);
        drop(second);
        assert!(hub.lock().is_empty());
    }

    #[tokio::test]
    async fn a_reader_far_behind_goes_on_with_what_is_left() {
        let hub = Hub::new();
        let mut feed = hub.cancellations();
        let ids: Vec<_> = (0..CANCEL_BACKLOG + 10).map(|_| TaskId::new()).collect();
        ids.iter().for_each(|id| hub.cancel(*id));
        assert!(ids.contains(&feed.next().await));
    }
}
