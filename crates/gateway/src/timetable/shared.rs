//! [`Periodic`]: the timetable in force, which the scheduler follows and the operators' routes show.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::entry::{Entry, Timetable};

/// The timetable in force at this gateway, and what keeps entries from being submitted here.
pub(crate) struct Periodic {
    timetable: watch::Sender<Arc<Timetable>>,
    /// By the names of entries. The store has why a submit failed.
    obstacles: Mutex<BTreeMap<String, String>>,
}

impl Periodic {
    /// Starts with this timetable.
    pub(crate) fn new(timetable: Timetable) -> Self {
        let timetable = watch::Sender::new(Arc::new(timetable));
        Self { timetable, obstacles: Mutex::default() }
    }

    /// Returns the timetable in force.
    pub(crate) fn timetable(&self) -> Arc<Timetable> {
        Arc::clone(&self.timetable.borrow())
    }

    /// Returns the entry of this name.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Entry>> {
        self.timetable().entries().iter().find(|entry| entry.name == name).cloned()
    }

    /// Returns the timetable in force, and its changes.
    pub(crate) fn follow(&self) -> watch::Receiver<Arc<Timetable>> {
        self.timetable.subscribe()
    }

    /// Replaces the timetable. Returns `false` if it is the same.
    pub(crate) fn replace(&self, timetable: Timetable) -> bool {
        if *self.timetable() == timetable {
            return false;
        }
        self.obstacles.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.timetable.send_replace(Arc::new(timetable));
        true
    }

    /// Returns what keeps an entry from being submitted at this gateway.
    pub(crate) fn obstacle(&self, name: &str) -> Option<String> {
        self.obstacles.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Notes what keeps an entry from being submitted at this gateway, and returns whether that is new.
    pub(crate) fn note(&self, name: &str, obstacle: Option<String>) -> bool {
        let mut obstacles = self.obstacles.lock().unwrap_or_else(PoisonError::into_inner);
        if obstacles.get(name) == obstacle.as_ref() {
            return false;
        }
        match obstacle {
            Some(obstacle) => obstacles.insert(name.to_owned(), obstacle),
            None => obstacles.remove(name),
        };
        true
    }
}
