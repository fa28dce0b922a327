//! Formats the state of limits as headers of answers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use queue::{MeterKind, Reading};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, Time};

/// The state of a request's limits after its task was submitted. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readings(Arc<Mutex<Vec<Reading>>>);

impl Readings {
    /// Replaces the readings; of several tasks of a request, the last one's count.
    pub(crate) fn set(&self, readings: Vec<Reading>) {
        if !readings.is_empty() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = readings;
        }
    }

    /// Takes the readings.
    pub(crate) fn take(&self) -> Vec<Reading> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The names of the headers of a limit: its value, what is left, and when all of it is left again.
type Names = [HeaderName; 3];

/// The names of OpenAI's headers for requests and tokens.
static OPENAI: [Names; 2] = [
    [
        HeaderName::from_static("x-ratelimit-limit-requests"),
        HeaderName::from_static("x-ratelimit-remaining-requests"),
        HeaderName::from_static("x-ratelimit-reset-requests"),
    ],
    [
        HeaderName::from_static("x-ratelimit-limit-tokens"),
        HeaderName::from_static("x-ratelimit-remaining-tokens"),
        HeaderName::from_static("x-ratelimit-reset-tokens"),
    ],
];

/// The names of Anthropic's headers for requests and tokens.
static ANTHROPIC: [Names; 2] = [
    [
        HeaderName::from_static("anthropic-ratelimit-requests-limit"),
        HeaderName::from_static("anthropic-ratelimit-requests-remaining"),
        HeaderName::from_static("anthropic-ratelimit-requests-reset"),
    ],
    [
        HeaderName::from_static("anthropic-ratelimit-tokens-limit"),
        HeaderName::from_static("anthropic-ratelimit-tokens-remaining"),
        HeaderName::from_static("anthropic-ratelimit-tokens-reset"),
    ],
];

/// Adds OpenAI's headers: `x-ratelimit-remaining-tokens: 4200`, `x-ratelimit-reset-tokens: 1.2s`.
pub(crate) fn openai(readings: &[Reading], headers: &mut HeaderMap) {
    add(readings, &OPENAI, headers, go_duration);
}

/// Adds Anthropic's headers: `anthropic-ratelimit-tokens-reset: 2025-11-21T15:30:45Z`.
pub(crate) fn anthropic(readings: &[Reading], headers: &mut HeaderMap) {
    add(readings, &ANTHROPIC, headers, |reset| instant(OffsetDateTime::now_utc() + reset));
}

fn add(
    readings: &[Reading],
    names: &[Names; 2],
    headers: &mut HeaderMap,
    when: fn(Duration) -> String,
) {
    for (reading, [limit, remaining, reset]) in tightest(readings).into_iter().zip(names) {
        let Some(reading) = reading else { continue };
        headers.insert(limit.clone(), reading.meter.limit.into());
        headers.insert(remaining.clone(), reading.remaining.into());
        if let Ok(when) = HeaderValue::try_from(when(reading.reset)) {
            headers.insert(reset.clone(), when);
        }
    }
}

/// Returns the limit with the least left, of requests and of tokens. For tokens, those per minute are preferred to
/// those per day.
fn tightest(readings: &[Reading]) -> [Option<&Reading>; 2] {
    let least = |is: fn(MeterKind) -> bool| {
        let readings = readings.iter().filter(move |reading| is(reading.meter.kind));
        readings.min_by_key(|reading| (reading.remaining, std::cmp::Reverse(reading.reset)))
    };
    let requests = least(|kind| matches!(kind, MeterKind::Requests { .. }));
    let tokens = least(|kind| kind == MeterKind::Tokens)
        .or_else(|| least(|kind| kind == MeterKind::DailyTokens));
    [requests, tokens]
}

/// Formats a span as Go does: `12ms`, `1.5s`, `6m0s`. Rounds up to milliseconds.
fn go_duration(span: Duration) -> String {
    let ms = span.as_micros().div_ceil(1_000);
    let (hours, minutes, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms % 60_000);
    let seconds = format!("{}.{:03}", ms / 1_000, ms % 1_000);
    let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
    match (hours, minutes) {
        (0, 0) if (1..1_000).contains(&ms) => format!("{ms}ms"),
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// Formats an instant by RFC 3339, rounded up to seconds.
fn instant(at: OffsetDateTime) -> String {
    let up = if at.nanosecond() > 0 { 1 } else { 0 };
    let whole = Time::from_hms(at.hour(), at.minute(), at.second()).unwrap_or(at.time());
    let at = at.replace_time(whole) + Duration::from_secs(up);
    at.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use queue::Meter;
    use time::macros::datetime;

    use super::*;

    fn reading(kind: MeterKind, limit: u64, remaining: u64, reset_ms: u64) -> Reading {
        let meter = Meter { kind, subject: "key_1".into(), limit };
        Reading { meter, remaining, reset: Duration::from_millis(reset_ms), reserved: 0 }
    }

    #[test]
    fn spans_are_formatted_as_go_formats_them() {
        for (ms, text) in [
            (0, "0s"),
            (12, "12ms"),
            (999, "999ms"),
            (1_000, "1s"),
            (1_500, "1.5s"),
            (59_999, "59.999s"),
            (60_000, "1m0s"),
            (360_000, "6m0s"),
            (86_399_000, "23h59m59s"),
        ] {
            assert_eq!(go_duration(Duration::from_millis(ms)), text);
        }
        assert_eq!(go_duration(Duration::from_micros(1)), "1ms");
    }

    #[test]
    fn the_tightest_limit_of_each_kind_is_shown() {
        let minute = MeterKind::Requests { period_s: 60 };
        let readings = [
            reading(minute, 100, 7, 1_000),
            reading(minute, 10, 2, 6_000),
            reading(MeterKind::InFlight, 3, 1, 0),
            reading(MeterKind::DailyTokens, 1_000, 1, 9_000),
            reading(MeterKind::Tokens, 500, 400, 12_000),
        ];
        let mut headers = HeaderMap::new();
        openai(&readings, &mut headers);
        let found = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(found("x-ratelimit-limit-requests"), Some("10"));
        assert_eq!(found("x-ratelimit-remaining-requests"), Some("2"));
        assert_eq!(found("x-ratelimit-reset-requests"), Some("6s"));
        assert_eq!(found("x-ratelimit-limit-tokens"), Some("500"));
        assert_eq!(found("x-ratelimit-reset-tokens"), Some("12s"));
        assert_eq!(headers.len(), 6);

        let mut headers = HeaderMap::new();
        anthropic(&readings[3..4], &mut headers);
        assert_eq!(headers.get("anthropic-ratelimit-tokens-remaining").unwrap(), "1");
        assert_eq!(headers.len(), 3);
        assert_eq!(instant(datetime!(2025-11-21 15:30:45.1 UTC)), "2025-11-21T15:30:46Z");
        assert_eq!(instant(datetime!(2025-11-21 23:59:59.9 UTC)), "2025-11-22T00:00:00Z");
    }
}
