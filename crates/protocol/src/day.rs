//! Days of the calendar (UTC), by which use is counted.

use std::fmt;
use std::str::FromStr;

use crate::Timestamp;

/// The first day that cannot be written with four digits of the year: 10000-01-01.
const END: u32 = 2_932_897;

/// A day (UTC), as days since 1970-01-01. Its text is `YYYY-MM-DD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(u32);

/// The text is not a day `YYYY-MM-DD` from 1970 on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{given}' is not a day: expected YYYY-MM-DD, from 1970-01-01 on")]
pub struct InvalidDay {
    given: String,
}

impl Day {
    /// Returns the `number`-th day after 1970-01-01; the last one of year 9999 for any later day.
    pub fn from_number(number: u32) -> Self {
        Self(number.min(END - 1))
    }

    /// Returns the number of days since 1970-01-01.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Returns the day that is `days` before this one, at the earliest 1970-01-01.
    pub const fn before(self, days: u32) -> Self {
        Self(self.0.saturating_sub(days))
    }

    /// Returns the time at which the day begins.
    pub fn start(self) -> Timestamp {
        Timestamp::from_millis(u64::from(self.0) * Timestamp::DAY_MS)
    }

    /// Returns year, month and day of the month, by Howard Hinnant's `civil_from_days`.
    fn civil(self) -> (u32, u32, u32) {
        let days = self.0 + 719_468; // since 0000-03-01
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        (year_of_era + era * 400 + u32::from(month <= 2), month, day)
    }
}

impl Timestamp {
    pub(crate) const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

    /// Returns the day (UTC) of the time.
    pub fn day(self) -> Day {
        Day::from_number(u32::try_from(self.as_millis() / Self::DAY_MS).unwrap_or(u32::MAX))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl FromStr for Day {
    type Err = InvalidDay;

    fn from_str(text: &str) -> Result<Self, InvalidDay> {
        let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u32>().ok();
        let day = || {
            let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
            if year < 1970 || !(1..=12).contains(&month) {
                return None;
            }
            // Howard Hinnant's `days_from_civil`.
            let year = year - u32::from(month <= 2);
            let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.checked_sub(1)?;
            let (era, of_era) = (year / 400, year % 400);
            let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
            Some(Self(days.checked_sub(719_468)?))
        };
        // Comparing the text also refuses the 31st of April, signs and other separators.
        day()
            .filter(|day| day.to_string() == text)
            .ok_or_else(|| InvalidDay { given: text.chars().take(64).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_round_trips() {
        for number in (0..END).step_by(13).chain(0..1_000).chain([END - 1]) {
            let day = Day::from_number(number);
            assert_eq!(day.to_string().parse(), Ok(day));
        }
    }

    #[test]
    fn known_days_are_converted() {
        for (text, number) in [
            ("1970-01-01", 0),
            ("2000-02-29", 11_016),
            ("2026-11-29", 20_786),
            ("9999-12-31", 2_932_896),
        ] {
            assert_eq!(text.parse(), Ok(Day::from_number(number)));
            assert_eq!(Day::from_number(number).to_string(), text);
        }
        let day = Timestamp::from_millis(20_786 * Timestamp::DAY_MS + 5).day();
        assert_eq!((day.number(), day.before(1).to_string()), (20_786, "2026-11-28".to_owned()));
        assert_eq!(day.start().as_millis(), 20_786 * Timestamp::DAY_MS);
        assert_eq!(Timestamp::from_millis(u64::MAX).day(), Day::from_number(u32::MAX));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "2026-11",
            "2026-11-31",
            "2023-02-29",
            "1969-12-31",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "+026-01-01",
            "2026/01/01",
            "2026-01-011",
            "20260101",
            "２026-01-01",
        ] {
            assert!(text.parse::<Day>().is_err(), "{text}");
        }
    }
}
