//! Tasks whose log lines are written but not yet acknowledged to the store. Acknowledgements
//! piggyback on calls that are made anyway.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::TaskId;

/// The number of acknowledgements that is sent with any call.
const ENOUGH: usize = 8;
/// After the first acknowledgement has waited this long, fewer are sent as well.
const LONG: Duration = Duration::from_millis(100);
/// The maximum number of acknowledgements per call.
const MOST: usize = 500;

/// The tasks that are not acknowledged yet.
#[derive(Default)]
pub(crate) struct Written {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    ids: Vec<TaskId>,
    /// The time when the oldest of them was added.
    since: Option<Instant>,
}

impl Written {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a task.
    pub(crate) fn note(&self, id: TaskId) {
        let mut waiting = self.waiting();
        waiting.ids.push(id);
        waiting.since.get_or_insert_with(Instant::now);
    }

    /// Removes and returns the tasks to acknowledge with a call made for another purpose. Often
    /// empty.
    pub(crate) fn ride(&self) -> Vec<TaskId> {
        let mut waiting = self.waiting();
        let long = waiting.since.is_some_and(|since| since.elapsed() >= LONG);
        if long || waiting.ids.len() >= ENOUGH { waiting.take() } else { Vec::new() }
    }

    /// Removes and returns as many tasks as one call may carry.
    pub(crate) fn take(&self) -> Vec<TaskId> {
        self.waiting().take()
    }

    /// Puts back the tasks of a call that failed.
    pub(crate) fn put_back(&self, ids: Vec<TaskId>) {
        if !ids.is_empty() {
            let mut waiting = self.waiting();
            waiting.ids.extend(ids);
            waiting.since.get_or_insert_with(Instant::now);
        }
    }
}

impl Waiting {
    fn take(&mut self) -> Vec<TaskId> {
        let rest = self.ids.split_off(self.ids.len().min(MOST));
        if rest.is_empty() {
            self.since = None;
        }
        std::mem::replace(&mut self.ids, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noted_ids_are_piggybacked_after_a_delay_or_at_a_threshold() {
        let written = Written::default();
        let ids: Vec<_> = (0..ENOUGH).map(|_| TaskId::new()).collect();
        written.note(ids[0]);
        assert!(written.ride().is_empty(), "not worth a command");
        std::thread::sleep(LONG);
        assert_eq!(written.ride(), ids[..1]);
        assert!(written.ride().is_empty());
        ids.iter().for_each(|id| written.note(*id));
        assert_eq!(written.ride(), ids);
    }

    #[test]
    fn ids_of_a_failed_call_are_taken_again_and_calls_are_bounded() {
        let written = Written::default();
        let ids: Vec<_> = (0..MOST + 3).map(|_| TaskId::new()).collect();
        ids.iter().for_each(|id| written.note(*id));
        let some = written.take();
        assert_eq!(some, ids[..MOST]);
        written.put_back(some);
        let mut all = written.take();
        all.extend(written.take());
        assert!(written.take().is_empty());
        all.sort_unstable();
        assert_eq!(all.len(), ids.len());
        assert!(ids.iter().all(|id| all.binary_search(id).is_ok()));
    }
}
