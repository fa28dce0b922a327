//! Instants of log lines: seconds since 1970 in UTC.

use time::macros::format_description;
use time::{Date, Month, OffsetDateTime};

const HOUR: i64 = 3_600;

/// Parses the times of consecutive log lines. Most of them have the hour of the line before, so its start is kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock {
    /// `2025-11-21 15` of the last parsed time.
    hour: [u8; 13],
    /// The start of that hour; valid once `hour` is set.
    start: i64,
}

impl Clock {
    /// Parses `2025-11-21 15:30:45`, also with a `T` in place of the space. Returns `None` if it is no such time.
    #[inline]
    pub(crate) fn parse(&mut self, text: &[u8; 19]) -> Option<i64> {
        if text[13] != b':' || text[16] != b':' {
            return None;
        }
        let (minute, second) = (pair(text[14], text[15])?, pair(text[17], text[18])?);
        if minute > 59 || second > 59 {
            return None;
        }
        if text[..13] != self.hour {
            self.start = hour_start(text)?;
            self.hour.copy_from_slice(&text[..13]);
        }
        Some(self.start + i64::from(minute) * 60 + i64::from(second))
    }
}

#[inline]
fn pair(tens: u8, ones: u8) -> Option<u8> {
    (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| (tens - b'0') * 10 + (ones - b'0'))
}

fn hour_start(text: &[u8; 19]) -> Option<i64> {
    if text[4] != b'-' || text[7] != b'-' || !matches!(text[10], b' ' | b'T') {
        return None;
    }
    let century = i32::from(pair(text[0], text[1])?);
    let year = century * 100 + i32::from(pair(text[2], text[3])?);
    let month = Month::try_from(pair(text[5], text[6])?).ok()?;
    let date = Date::from_calendar_date(year, month, pair(text[8], text[9])?).ok()?;
    let hour = pair(text[11], text[12])?;
    (hour < 24).then(|| date.midnight().assume_utc().unix_timestamp() + i64::from(hour) * HOUR)
}

/// Formats an instant as `2025-11-21 15:30:45`.
pub(crate) fn plain(at: i64) -> String {
    formatted(at, format_description!("[year]-[month]-[day] [hour]:[minute]:[second]"))
}

/// Formats an instant as `2025-11-21 15:30`.
pub(crate) fn minute(at: i64) -> String {
    formatted(at, format_description!("[year]-[month]-[day] [hour]:[minute]"))
}

/// Formats an instant as `11-21 15:30`, for the axes of plots.
pub(crate) fn short(at: i64) -> String {
    formatted(at, format_description!("[month]-[day] [hour]:[minute]"))
}

/// Formats an instant as RFC 3339.
pub(crate) fn rfc3339(at: i64) -> String {
    formatted(at, format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z"))
}

fn formatted(at: i64, format: &[time::format_description::BorrowedFormatItem<'_>]) -> String {
    let formatted =
        OffsetDateTime::from_unix_timestamp(at).ok().and_then(|at| at.format(format).ok());
    formatted.unwrap_or_else(|| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_parsed_and_formatted() {
        let mut clock = Clock::default();
        let cases: [(&str, &[u8; 19]); 5] = [
            ("2025-11-21 15:30:45", b"2025-11-21 15:30:45"),
            ("2025-11-21 15:00:00", b"2025-11-21T15:00:00"),
            ("1969-12-31 23:59:59", b"1969-12-31 23:59:59"),
            ("2024-02-29 00:00:00", b"2024-02-29 00:00:00"),
            ("9999-12-31 23:59:59", b"9999-12-31 23:59:59"),
        ];
        for (expected, text) in cases {
            assert_eq!(plain(clock.parse(text).unwrap()), expected);
        }
        assert_eq!(clock.parse(b"2025-11-21 15:30:45"), Some(1_763_739_045));
        assert_eq!(rfc3339(1_763_739_045), "2025-11-21T15:30:45Z");
    }

    #[test]
    fn what_is_no_time_is_refused_also_after_a_time_of_the_same_hour() {
        let mut clock = Clock::default();
        assert_eq!(clock.parse(&[0; 19]), None);
        clock.parse(b"2025-11-21 15:30:45").unwrap();
        let wrong: [&[u8; 19]; 9] = [
            b"2025-02-29 15:30:45",
            b"2025-13-01 15:30:45",
            b"2025-00-01 15:30:45",
            b"2025-11-21 24:00:00",
            b"2025-11-21 15:60:45",
            b"2025-11-21 15:30:60",
            b"2025-11-21 15-30-45",
            b"2025/11/21 15:30:45",
            b"2025-11-2x 15:30:45",
        ];
        for text in wrong {
            assert_eq!(clock.parse(text), None, "{}", String::from_utf8_lossy(text));
        }
    }
}
