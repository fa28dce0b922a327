//! Wake-ups: notifications that something may have changed, so that readers need not poll often.
//!
//! There is one hub per broker. Whatever learns of a change (the embedded broker after a commit,
//! the Redis broker from its pub/sub connection) notifies the hub, and the hub wakes the waiting
//! readers. A wake-up may come late, twice, without a change, or not at all; only the store is
//! reliable. So read the store after each wake-up, and at times without one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::TaskId;
use tokio::sync::{broadcast, watch};

/// Cancellations that a slow reader may fall behind before it misses some.
const CANCEL_BACKLOG: usize = 1024;

/// Maps tasks to their watchers and wakes them.
#[derive(Debug)]
pub(crate) struct Hub {
    /// One channel per watched task, shared by its watchers and removed with the last of them.
    watched: Mutex<HashMap<TaskId, watch::Sender<()>>>,
    cancelled: broadcast::Sender<TaskId>,
}

impl Hub {
    pub(crate) fn new() -> Arc<Self> {
        let (cancelled, _) = broadcast::channel(CANCEL_BACKLOG);
        Arc::new(Self { watched: Mutex::default(), cancelled })
    }

    /// Watches a task.
    pub(crate) fn watch(self: &Arc<Self>, id: TaskId) -> Watch {
        let wakes = self.lock().entry(id).or_insert_with(|| watch::channel(()).0).subscribe();
        Watch { id, wakes, hub: Arc::clone(self) }
    }

    /// Watches all cancellations.
    pub(crate) fn cancellations(self: &Arc<Self>) -> CancelFeed {
        CancelFeed { ids: self.cancelled.subscribe(), _hub: Arc::clone(self) }
    }

    /// Wakes the watchers of a task.
    pub(crate) fn wake(&self, id: TaskId) {
        if let Some(channel) = self.lock().get(&id) {
            channel.send_replace(());
        }
    }

    /// Wakes all watchers, since wake-ups may have been missed.
    pub(crate) fn wake_all(&self) {
        for channel in self.lock().values() {
            channel.send_replace(());
        }
    }

    /// Announces that a running task's cancellation was requested.
    pub(crate) fn cancel(&self, id: TaskId) {
        // An error means that there are no readers, which is fine.
        let _ = self.cancelled.send(id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, watch::Sender<()>>> {
        // No code panics while it holds the lock, and the map is consistent between any two
        // statements.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wake-ups for one task. Dropping it ends them.
#[derive(Debug)]
pub struct Watch {
    id: TaskId,
    wakes: watch::Receiver<()>,
    /// Keeps the channel's sender alive; removes it when the last watcher is dropped.
    hub: Arc<Hub>,
}

impl Watch {
    /// Waits until the task may have changed since the last call, or since
    /// [`Broker::watch`](crate::Broker::watch) for the first call. Wake-ups that come close
    /// together count as one. Cancel-safe: dropping the future loses no wake-up.
    pub async fn changed(&mut self) {
        if self.wakes.changed().await.is_err() {
            // Unreachable: the hub, which lives as long as `self`, keeps the sender of a watched
            // task.
            std::future::pending::<()>().await;
        }
    }

    /// Returns the task's id.
    pub fn id(&self) -> TaskId {
        self.id
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = self.hub.lock();
        // New watchers subscribe under the same lock, so a count of one means that this is the last
        // watch.
        if watched.get(&self.id).is_some_and(|channel| channel.receiver_count() == 1) {
            watched.remove(&self.id);
        }
    }
}

/// The ids of tasks whose cancellation was requested while a worker held them.
#[derive(Debug)]
pub struct CancelFeed {
    ids: broadcast::Receiver<TaskId>,
    /// Keeps the sender alive.
    _hub: Arc<Hub>,
}

impl CancelFeed {
    /// Waits for the next id. An id may come more than once, and ids of tasks that other workers
    /// hold come as well. A reader that falls far behind misses some; it learns of them at the next
    /// renewal, since the request is also stored with the task. Cancel-safe.
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
    async fn wake_ups_reach_only_the_tasks_watchers() {
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
    async fn a_dropped_future_loses_no_wake_up() {
        let hub = Hub::new();
        let mut watch = hub.watch(TaskId::new());
        let early = tokio::time::timeout(Duration::from_millis(5), watch.changed()).await;
        assert!(early.is_err());
        hub.wake(watch.id());
        watch.changed().await;
    }

    #[test]
    fn the_last_watcher_removes_the_channel() {
        let hub = Hub::new();
        let id = TaskId::new();
        let (first, second) = (hub.watch(id), hub.watch(id));
        drop(first);
        assert_eq!(hub.lock().len(), 1);
        drop(second);
        assert!(hub.lock().is_empty());
    }

    #[tokio::test]
    async fn lagging_cancellation_feed_continues_with_the_remaining_ids() {
        let hub = Hub::new();
        let mut feed = hub.cancellations();
        let ids: Vec<_> = (0..CANCEL_BACKLOG + 10).map(|_| TaskId::new()).collect();
        ids.iter().for_each(|id| hub.cancel(*id));
        assert!(ids.contains(&feed.next().await));
    }
}
