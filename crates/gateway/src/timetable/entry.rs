//! [`Entry`]: one entry of the schedule, checked; [`Timetable`]: all of them.

use std::sync::Arc;
use std::time::Duration;

use protocol::{KeyId, TenantId};
use queue::ContentHash;
use serde_json::Value;

use super::timing::Timing;

/// What happens to occurrences that nobody submitted in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Missed {
    /// They are skipped.
    #[default]
    Skip,
    /// One task makes up for all of them.
    Once,
    /// Each is submitted, the latest `max_missed` of them.
    All,
}

impl Missed {
    /// All policies.
    pub(crate) const ALL: [Self; 3] = [Self::Skip, Self::Once, Self::All];

    /// Returns the name, as in the file.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Once => "once",
            Self::All => "all",
        }
    }
}

/// Who owns the tasks of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Payer {
    /// An owner; the limits of owners hold.
    Owner(TenantId),
    /// The owner of a key, whose limits and rights hold.
    Key(KeyId),
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Names it among the entries.
    pub(crate) name: String,
    /// When it is due.
    pub(crate) timing: Timing,
    /// Who owns its tasks.
    pub(crate) payer: Payer,
    /// The skill that writes the prompt; `None` for a request as `POST /generate` takes.
    pub(crate) skill: Option<String>,
    /// The body of the request.
    pub(crate) request: Value,
    /// What happens to missed occurrences.
    pub(crate) missed: Missed,
    /// The most missed occurrences that [`Missed::All`] submits.
    pub(crate) max_missed: u64,
    /// By how much an occurrence may be late before it counts as missed.
    pub(crate) grace: Duration,
    /// The most seconds by which an occurrence is put off.
    pub(crate) jitter_s: u64,
    /// Whether it is submitted when it is due.
    pub(crate) enabled: bool,
}

impl Entry {
    /// Returns a digest of what determines the occurrences. An entry with another one begins anew, so that a changed
    /// expression, or a time in which the entry was disabled, makes up for nothing.
    pub(crate) fn digest(&self) -> String {
        let Self { timing, enabled, .. } = self;
        let text = format!("{} {} {enabled}", timing.expression(), timing.zone());
        ContentHash::of(text.as_bytes()).to_string()[..16].to_owned()
    }
}

/// The entries of a schedule's file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timetable {
    /// The entries, in the order of the file; `None` without a file.
    pub(crate) entries: Option<Vec<Arc<Entry>>>,
}

impl Timetable {
    /// Returns the entries.
    pub(crate) fn entries(&self) -> &[Arc<Entry>] {
        self.entries.as_deref().unwrap_or_default()
    }

    /// Returns whether there is a schedule.
    pub(crate) fn is_configured(&self) -> bool {
        self.entries.is_some()
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Returns whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// Returns an entry in UTC.
    pub(crate) fn entry(name: &str, expression: &str) -> Entry {
        Entry {
            name: name.to_owned(),
            timing: Timing::parse(expression, chrono_tz::Tz::UTC).unwrap(),
            payer: Payer::Owner(TenantId::new("acme")),
            skill: None,
            request: json!({"prompt": "x"}),
            missed: Missed::Skip,
            max_missed: 10,
            grace: Duration::from_secs(60),
            jitter_s: 0,
            enabled: true,
        }
    }

    #[test]
    fn digest_depends_on_the_timing_alone() {
        let daily = entry("a", "@daily");
        let same = Entry { name: "b".to_owned(), missed: Missed::All, ..daily.clone() };
        assert_eq!(daily.digest(), same.digest());
        assert_ne!(daily.digest(), entry("a", "@hourly").digest());
        assert_ne!(daily.digest(), Entry { enabled: false, ..daily.clone() }.digest());
        let timing = Timing::parse("@daily", chrono_tz::Tz::Europe__Oslo).unwrap();
        assert_ne!(daily.digest(), Entry { timing, ..daily.clone() }.digest());
    }
}
