//! [`Rests`]: the pauses of occurrences that were refused.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use protocol::Timestamp;
use tokio::time::Instant;

use crate::timetable::Entry;

/// The longest pause between two tries. The first is a second, and each further one twice as long.
const LONGEST: Duration = Duration::from_secs(30);

/// An occurrence that was refused.
struct Rest {
    occurrence: Timestamp,
    tries: u32,
    until: Instant,
}

/// The latest refused occurrence of each entry.
#[derive(Default)]
pub(super) struct Rests(Mutex<HashMap<String, Rest>>);

impl Rests {
    /// Returns for how long an occurrence that was refused is not tried again.
    pub(super) fn left(&self, entry: &Entry, occurrence: Timestamp) -> Option<Duration> {
        let resting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = resting.get(&entry.name).filter(|rest| rest.occurrence == occurrence)?;
        let left = rest.until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Notes that an occurrence was refused, and returns the pause until the next try.
    pub(super) fn begin(&self, entry: &Entry, occurrence: Timestamp) -> Duration {
        let mut resting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tries = resting.get(&entry.name).filter(|rest| rest.occurrence == occurrence);
        let tries = tries.map_or(0, |rest| rest.tries);
        let pause = Duration::from_secs(1 << tries.min(5)).min(LONGEST);
        let rest = Rest { occurrence, tries: tries + 1, until: Instant::now() + pause };
        resting.insert(entry.name.clone(), rest);
        pause
    }
}
