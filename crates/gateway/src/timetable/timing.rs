//! [`Timing`]: the occurrences of a cron expression in a time zone.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use protocol::Timestamp;
use queue::ContentHash;

/// When an entry is due. A clock that is put forward or back is handled as by Vixie's cron: an expression with fixed
/// hours and minutes has one occurrence a day in any case, one with wildcards or ranges follows the time that passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Timing {
    cron: Cron,
    zone: Tz,
    /// The expression as it is in the file.
    expression: String,
}

impl Timing {
    /// Parses an expression of five fields, of six with seconds first, or a name such as `@daily`.
    ///
    /// # Errors
    /// If it is invalid, or never matches a day.
    pub(crate) fn parse(expression: &str, zone: Tz) -> Result<Self, String> {
        let parser =
            CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let cron = parser.parse(expression).map_err(|error| {
            format!(
                "'{expression}' is not a cron expression ({}): expected minute, hour, day of month, month and \
                 day of week, such as '30 6 * * MON-FRI', with seconds before them if there are six; or @hourly, \
                 @daily, @weekly, @monthly or @yearly",
                error.to_string().trim_end_matches('.')
            )
        })?;
        let timing = Self { cron, zone, expression: expression.to_owned() };
        match timing.next(Timestamp::from_millis(0)) {
            Some(_) => Ok(timing),
            None => Err(format!("'{expression}' never matches: there is no such day")),
        }
    }

    /// Returns the first occurrence after a time.
    pub(crate) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        timestamp(&self.cron.find_next_occurrence(&self.local(after)?, false).ok()?)
    }

    /// Returns the latest occurrence at a time or before it.
    pub(crate) fn latest(&self, until: Timestamp) -> Option<Timestamp> {
        timestamp(&self.cron.find_previous_occurrence(&self.local(until)?, true).ok()?)
    }

    /// Returns the time to the second in the time zone.
    fn local(&self, at: Timestamp) -> Option<DateTime<Tz>> {
        let seconds = i64::try_from(at.as_millis() / 1_000).ok()?;
        Some(DateTime::<Utc>::from_timestamp(seconds, 0)?.with_timezone(&self.zone))
    }

    /// Returns the expression as it is in the file.
    pub(crate) fn expression(&self) -> &str {
        &self.expression
    }

    /// Returns the name of the time zone.
    pub(crate) fn zone(&self) -> &'static str {
        self.zone.name()
    }
}

fn timestamp(at: &DateTime<Tz>) -> Option<Timestamp> {
    u64::try_from(at.timestamp_millis()).ok().map(Timestamp::from_millis)
}

/// Formats an occurrence for metadata and logs: `2026-11-30T03:00:00Z`.
pub(crate) fn shown(at: Timestamp) -> String {
    let seconds = i64::try_from(at.as_millis() / 1_000).unwrap_or(i64::MAX);
    let at = DateTime::<Utc>::from_timestamp(seconds, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Returns by how much an occurrence is put off, at most `most_s` seconds: the same at every gateway.
pub(crate) fn jitter_ms(name: &str, occurrence: Timestamp, most_s: u64) -> u64 {
    if most_s == 0 {
        return 0;
    }
    let digest = ContentHash::of(format!("{name} {}", occurrence.as_millis()).as_bytes()).0;
    let random = digest[..8].iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    random % (most_s * 1_000 + 1)
}

#[cfg(test)]
mod tests;
