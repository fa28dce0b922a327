//! What is due: a pure function of an entry, how far it got, and the time.

use std::time::Duration;

use protocol::Timestamp;

use super::entry::{Entry, Missed};
use super::timing::jitter_ms;

/// The most occurrences that are counted one by one. If more are skipped at once, so many count.
const MAX_COUNTED: u64 = 10_000;

/// What to do for an entry now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing until this time, or ever.
    Nothing(Option<Timestamp>),
    /// Submit a task for an occurrence. Those before it that are not settled are skipped, so many.
    Run { occurrence: Timestamp, skipped: u64 },
    /// Skip all occurrences up to this one, so many.
    Skip { to: Timestamp, skipped: u64 },
}

/// Decides what is due. Occurrences up to `reached` are settled.
///
/// An occurrence is missed if nobody submitted it within the entry's grace; the policy of the entry says what to do
/// then. Others are submitted one after the other.
pub(crate) fn due(entry: &Entry, reached: Timestamp, now: Timestamp) -> Due {
    let timing = &entry.timing;
    let late = entry.grace + Duration::from_secs(entry.jitter_s);
    let missed = timing.latest(before(now, late)).filter(|missed| *missed > reached);
    let Some(missed) = missed else { return on_time(entry, reached, now) };
    match entry.missed {
        Missed::Skip => Due::Skip { to: missed, skipped: count(entry, reached, missed) },
        Missed::Once => {
            let occurrence = timing.latest(now).unwrap_or(missed);
            Due::Run { occurrence, skipped: count(entry, reached, occurrence).saturating_sub(1) }
        }
        Missed::All => {
            let mut occurrence = missed;
            for _ in 1..entry.max_missed {
                match timing.latest(before(occurrence, Duration::from_secs(1))) {
                    Some(earlier) if earlier > reached => occurrence = earlier,
                    _ => break,
                }
            }
            Due::Run { occurrence, skipped: count(entry, reached, occurrence).saturating_sub(1) }
        }
    }
}

fn on_time(entry: &Entry, reached: Timestamp, now: Timestamp) -> Due {
    let Some(occurrence) = entry.timing.next(reached) else { return Due::Nothing(None) };
    let at = starts(entry, occurrence);
    if at > now { Due::Nothing(Some(at)) } else { Due::Run { occurrence, skipped: 0 } }
}

/// Returns when the next occurrence after a time is to be submitted.
pub(crate) fn next(entry: &Entry, after: Timestamp) -> Option<Timestamp> {
    entry.timing.next(after).map(|occurrence| starts(entry, occurrence))
}

/// Returns when an occurrence is to be submitted.
fn starts(entry: &Entry, occurrence: Timestamp) -> Timestamp {
    occurrence + Duration::from_millis(jitter_ms(&entry.name, occurrence, entry.jitter_s))
}

/// Counts the occurrences after one time, up to another.
fn count(entry: &Entry, after: Timestamp, until: Timestamp) -> u64 {
    let (mut count, mut at) = (0, after);
    while count < MAX_COUNTED {
        match entry.timing.next(at) {
            Some(next) if next <= until => (count, at) = (count + 1, next),
            _ => break,
        }
    }
    count
}

fn before(at: Timestamp, span: Duration) -> Timestamp {
    let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(at.as_millis().saturating_sub(span))
}

#[cfg(test)]
mod tests;
