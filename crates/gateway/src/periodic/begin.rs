//! Takes over a timetable: begins new entries, and forgets removed ones.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::Timestamp;
use queue::{PeriodicId, PeriodicState, StoredPeriodic};

use super::submit::begun;
use crate::timetable::Entry;

/// A state that is further ahead than this was written while a clock was wrong.
const AHEAD: Duration = Duration::from_secs(3_600);

/// What a stored state means for an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is the entry's.
    Current,
    /// The entry begins with this state.
    Begins(PeriodicState),
    /// A gateway that read its file later has the entry with another timing: that one is in force.
    Outdated,
}

/// Compares the stored state of an entry with the timetable that this gateway took over at `taken`.
pub(super) fn standing(
    entry: &Entry,
    stored: Option<&PeriodicState>,
    taken: Timestamp,
    now: Timestamp,
) -> Standing {
    let fresh = begun(entry, now);
    match stored {
        None => Standing::Begins(fresh),
        Some(state) if state.timing == fresh.timing => {
            if state.reached > now + AHEAD {
                return Standing::Begins(PeriodicState { reached: now, ..state.clone() });
            }
            Standing::Current
        }
        Some(state) if state.since < taken => Standing::Begins(PeriodicState {
            runs: state.runs,
            skipped: state.skipped,
            last: state.last,
            ..fresh
        }),
        Some(_) => Standing::Outdated,
    }
}

/// Returns the states of entries that are not in the timetable. `ids` are those of its entries whose owner is known,
/// `unknown` the names of the others.
pub(super) fn removed(
    stored: &BTreeMap<PeriodicId, StoredPeriodic>,
    ids: &BTreeSet<PeriodicId>,
    unknown: &BTreeSet<String>,
) -> Vec<PeriodicId> {
    let is_removed = |id: &&PeriodicId| !ids.contains(id) && !unknown.contains(&id.name);
    stored.keys().filter(is_removed).cloned().collect()
}

#[cfg(test)]
mod tests {
    use protocol::TenantId;

    use super::*;
    use crate::timetable::entry_for_tests as entry;

    const fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn a_new_entry_begins_now_and_makes_up_for_nothing() {
        let entry = entry("a", "@daily");
        let Standing::Begins(state) = standing(&entry, None, at(5), at(7)) else { panic!() };
        assert_eq!((state.reached, state.since, state.runs), (at(7), at(7), 0));
        assert_eq!(standing(&entry, Some(&state), at(9), at(9)), Standing::Current, "a restart");
    }

    #[test]
    fn a_changed_timing_begins_anew_where_it_was_read_last() {
        let (old, new) = (entry("a", "@daily"), entry("a", "@hourly"));
        let state = PeriodicState { runs: 3, skipped: 2, ..begun(&old, at(1_000)) };
        let Standing::Begins(changed) = standing(&new, Some(&state), at(2_000), at(2_500)) else {
            panic!("the file was read later");
        };
        assert_eq!((changed.reached, changed.runs, changed.skipped), (at(2_500), 3, 2));
        assert_eq!(changed.timing, new.digest());
        // The gateway with the old file read it at 1,500.
        assert_eq!(standing(&old, Some(&changed), at(1_500), at(3_000)), Standing::Outdated);
    }

    #[test]
    fn a_state_from_the_future_begins_again() {
        let entry = entry("a", "@daily");
        let now = at(10_000_000_000);
        let soon = PeriodicState { runs: 4, ..begun(&entry, now + Duration::from_secs(3_000)) };
        assert_eq!(standing(&entry, Some(&soon), now, now), Standing::Current);
        let far = begun(&entry, now + Duration::from_secs(4_000));
        let Standing::Begins(again) = standing(&entry, Some(&far), now, now) else { panic!() };
        assert_eq!(again.reached, now);
    }

    #[test]
    fn states_of_removed_entries_are_found() {
        let id =
            |owner: &str, name: &str| PeriodicId { owner: TenantId::new(owner), name: name.into() };
        let ids = [id("acme", "kept"), id("acme", "gone"), id("former", "kept"), id("x", "by-key")];
        let stored = ids.iter().map(|id| {
            let state = begun(&entry("a", "@daily"), at(1));
            (id.clone(), StoredPeriodic { id: id.clone(), revision: 1, task_id: None, state })
        });
        let known = BTreeSet::from([id("acme", "kept")]);
        let unknown = BTreeSet::from(["by-key".to_owned()]);
        let removed = removed(&stored.collect(), &known, &unknown);
        assert_eq!(removed, [id("acme", "gone"), id("former", "kept")]);
    }
}
