//! Filters entries by task and time.

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime, PrimitiveDateTime, Time};

use super::entry::Entry;
use super::fields::instant;
use super::files::Day;

/// The filter.
#[derive(Debug, Default)]
pub(super) struct Pick {
    /// Keeps only entries of tasks whose id has this prefix.
    pub(super) task: Option<String>,
    /// Keeps only entries from this time on, in UTC.
    pub(super) since: Option<PrimitiveDateTime>,
}

impl Pick {
    /// Returns `true` if all entries pass.
    pub(super) fn is_unfiltered(&self) -> bool {
        self.task.is_none() && self.since.is_none()
    }

    /// Returns `true` if an entry passes. An entry without a time does not pass a filter by time.
    pub(super) fn takes(&self, entry: &Entry) -> bool {
        let new = self.since.is_none_or(|since| entry.at.is_some_and(|at| at >= since));
        new && self.task.as_ref().is_none_or(|task| is_about_task(entry, task))
    }

    /// Returns `true` if a day's file may have entries that pass the filter by time.
    pub(super) fn may_hold(&self, day: &Day) -> bool {
        self.since.zip(day.date).is_none_or(|(since, date)| date >= since.date())
    }
}

fn is_about_task(entry: &Entry, task: &str) -> bool {
    match entry.fields.as_ref().and_then(|fields| fields.text("task_id")) {
        Some(id) => id.starts_with(task),
        None => entry.text.contains(task),
    }
}

/// Parses a span before now (`90s`, `15m`, `1h`, `2d`), or an instant in UTC: a day, optionally with hours and
/// minutes, or with seconds too.
pub(super) fn since(text: &str) -> Result<PrimitiveDateTime, String> {
    let now = OffsetDateTime::now_utc();
    parse(text.trim(), PrimitiveDateTime::new(now.date(), now.time())).ok_or_else(|| {
        "expected a span such as 90s, 15m, 1h or 2d, or an instant in UTC such as \
         2025-11-21, \"2025-11-21 15:30\" or 2025-11-21T15:30:45Z"
            .to_owned()
    })
}

fn parse(text: &str, now: PrimitiveDateTime) -> Option<PrimitiveDateTime> {
    const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
    if let Some(unit) = text.chars().last().filter(|unit| "smhd".contains(*unit)) {
        let number: u32 = text[..text.len() - 1].parse().ok()?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            _ => 86_400,
        };
        return now.checked_sub(Duration::seconds(i64::from(number) * seconds));
    }
    match text.trim_end_matches('Z').len() {
        10 => Date::parse(text, DAY).ok().map(|date| PrimitiveDateTime::new(date, Time::MIDNIGHT)),
        16 => instant(&format!("{}:00", text.trim_end_matches('Z'))),
        19 => instant(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn durations_and_timestamps_are_parsed() {
        let now = datetime!(2025-11-21 15:30:45);
        for (text, expected) in [
            ("45s", datetime!(2025-11-21 15:30:00)),
            ("15m", datetime!(2025-11-21 15:15:45)),
            ("1h", datetime!(2025-11-21 14:30:45)),
            ("2d", datetime!(2025-11-19 15:30:45)),
            ("2025-11-20", datetime!(2025-11-20 0:00)),
            ("2025-11-20 08:15", datetime!(2025-11-20 08:15)),
            ("2025-11-20T08:15:01Z", datetime!(2025-11-20 08:15:01)),
        ] {
            assert_eq!(parse(text, now), Some(expected), "{text}");
        }
        for wrong in ["", "h", "1w", "-1h", "soon", "2025-13-01", "1.5h", "9999999999d", "ünm"] {
            assert_eq!(parse(wrong, now), None, "{wrong}");
        }
    }
}
