//! Keeps each thread's handles of the series that it has recorded: to find a series by the texts of its labels takes
//! longer than to count. The number of series is bounded, since their labels are.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher;
use std::thread::LocalKey;

use ::metrics::{Counter, Gauge, Histogram};
use foldhash::fast::FixedState;

use super::is_installed;

thread_local! {
    static COUNTERS: Handles<Counter> = Handles::default();
    static GAUGES: Handles<Gauge> = Handles::default();
    static HISTOGRAMS: Handles<Histogram> = Handles::default();
}

/// Handles by the hash of their metric's name and the values of its labels.
type Handles<T> = RefCell<HashMap<u64, Known<T>, FixedState>>;

/// A kind of handle.
pub(super) trait Handle: Sized + 'static {
    /// A thread's handles of the kind.
    const KNOWN: &'static LocalKey<Handles<Self>>;
}

impl Handle for Counter {
    const KNOWN: &'static LocalKey<Handles<Self>> = &COUNTERS;
}

impl Handle for Gauge {
    const KNOWN: &'static LocalKey<Handles<Self>> = &GAUGES;
}

impl Handle for Histogram {
    const KNOWN: &'static LocalKey<Handles<Self>> = &HISTOGRAMS;
}

/// A handle, and what it belongs to.
pub(super) struct Known<T> {
    name: &'static str,
    labels: Box<[Box<str>]>,
    handle: T,
}

impl<T> Known<T> {
    fn is(&self, name: &str, labels: &[&str]) -> bool {
        let known = self.labels.iter().map(|label| &**label);
        self.name == name && known.eq(labels.iter().copied())
    }
}

/// Calls `act` with the handle of a series, which `find` looks up if this thread has not recorded it yet.
pub(super) fn with<T: Handle>(
    name: &'static str,
    labels: &[&str],
    find: impl Fn() -> T,
    act: impl Fn(&T),
) {
    // Handles of before count nothing.
    if !is_installed() {
        return act(&find());
    }
    let kept = T::KNOWN.try_with(|known| {
        let mut known = known.borrow_mut();
        match known.entry(FixedState::default().hash_one((name, labels))) {
            Entry::Occupied(entry) if entry.get().is(name, labels) => act(&entry.get().handle),
            Entry::Occupied(_) => act(&find()), // another series has the same hash
            Entry::Vacant(place) => {
                let labels = labels.iter().map(|&label| label.into()).collect();
                act(&place.insert(Known { name, labels, handle: find() }).handle);
            }
        }
    });
    // The thread ends.
    if kept.is_err() {
        act(&find());
    }
}
