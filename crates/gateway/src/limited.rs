//! Describes a limit on use that has no room: for programs and for people. Knows no API's format.

use std::time::Duration;

use queue::{Exhausted, MeterKind};

/// The start of the subject of an owner's limits. Ids of keys have no colon.
pub(crate) const OWNER: &str = "owner:";
/// The start of the subject of a route's limit for a key.
pub(crate) const ENDPOINT: &str = "generate:";

/// What a limit counts, and whether it may have room later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limited {
    /// Requests in a period.
    Requests,
    /// Tokens per minute.
    Tokens,
    /// Tasks that wait or run.
    InFlight,
    /// Tokens per day.
    Quota,
    /// The request asks for more than the whole limit, so it never fits.
    TooLarge,
}

impl Limited {
    /// Classifies a limit that has no room.
    pub(crate) fn of(exhausted: &Exhausted) -> Self {
        match exhausted.reading.meter.kind {
            _ if exhausted.retry_after.is_none() => Self::TooLarge,
            MeterKind::Requests { .. } => Self::Requests,
            MeterKind::Tokens => Self::Tokens,
            MeterKind::InFlight => Self::InFlight,
            MeterKind::DailyTokens | MeterKind::DailyBatchTokens => Self::Quota,
        }
    }
}

/// Returns the message: which limit it is, its value, what is left, and when to try again.
pub(crate) fn message(exhausted: &Exhausted) -> String {
    let Exhausted { reading, asked, retry_after } = exhausted;
    let (limit, remaining) = (reading.meter.limit, reading.remaining);
    let whose = match reading.meter.subject.as_str() {
        subject if subject.starts_with(OWNER) => "the owner of this API key",
        subject if subject.starts_with(ENDPOINT) => "this API key, on this route,",
        _ => "this API key",
    };
    let what = match reading.meter.kind {
        MeterKind::Requests { period_s } => {
            format!("send {limit} requests per {}", period(period_s))
        }
        MeterKind::Tokens => format!("use {limit} tokens per minute"),
        MeterKind::InFlight => format!("have {limit} tasks that wait or run"),
        MeterKind::DailyTokens => format!("use {limit} tokens per day (UTC)"),
        MeterKind::DailyBatchTokens => format!("use {limit} tokens of batches per day (UTC)"),
    };
    let Some(wait) = retry_after else {
        return format!(
            "Request too large: it needs {asked} tokens (its prompt, estimated, and its max_tokens), but {whose} may \
             {what}. Shorten the prompt or lower max_tokens"
        );
    };
    let when = match reading.meter.kind {
        MeterKind::DailyTokens | MeterKind::DailyBatchTokens => "more are available",
        _ => "try again",
    };
    format!(
        "Limit reached: {whose} may {what}; {remaining} are left, this request needs {asked}; {when} in {}",
        span(*wait)
    )
}

fn period(seconds: u32) -> String {
    match seconds {
        1 => "second".to_owned(),
        60 => "minute".to_owned(),
        3_600 => "hour".to_owned(),
        86_400 => "day".to_owned(),
        other => format!("{other} seconds"),
    }
}

/// Formats a wait for people.
fn span(wait: Duration) -> String {
    let seconds = wait.as_secs_f64();
    match seconds {
        ..120.0 => format!("{:.1} s", (seconds * 10.0).ceil() / 10.0),
        ..7_200.0 => format!("{:.0} minutes", (seconds / 60.0).ceil()),
        _ => format!("{:.0} hours", (seconds / 3_600.0).ceil()),
    }
}

#[cfg(test)]
mod tests {
    use queue::{Meter, Reading};

    use super::*;

    fn exhausted(kind: MeterKind, subject: &str, retry_ms: Option<u64>) -> Exhausted {
        let meter = Meter { kind, subject: subject.to_owned(), limit: 10 };
        let reading = Reading { meter, remaining: 3, reset: Duration::from_secs(60), reserved: 0 };
        Exhausted { reading, asked: 7, retry_after: retry_ms.map(Duration::from_millis) }
    }

    #[test]
    fn messages_name_the_limit_what_is_left_and_when_to_try_again() {
        let minute = MeterKind::Requests { period_s: 60 };
        for (exhausted, expected) in [
            (
                exhausted(minute, "key_1", Some(4_210)),
                "Limit reached: this API key may send 10 requests per minute; 3 are left, this request needs 7; try again in 4.3 s",
            ),
            (
                exhausted(MeterKind::Tokens, "owner:acme", Some(30_000)),
                "Limit reached: the owner of this API key may use 10 tokens per minute; 3 are left, this request needs 7; try again in 30.0 s",
            ),
            (
                exhausted(MeterKind::DailyTokens, "key_1", Some(7_300_000)),
                "Limit reached: this API key may use 10 tokens per day (UTC); 3 are left, this request needs 7; more are available in 3 hours",
            ),
            (
                exhausted(MeterKind::Requests { period_s: 3600 }, "generate:key_1", Some(600_000)),
                "Limit reached: this API key, on this route, may send 10 requests per hour; 3 are left, this request needs 7; try again in 10 minutes",
            ),
        ] {
            assert_eq!(message(&exhausted), expected);
        }
        let never = message(&exhausted(MeterKind::Tokens, "key_1", None));
        assert!(never.starts_with("Request too large: it needs 7 tokens"), "{never}");
        assert!(never.contains("this API key may use 10 tokens per minute"), "{never}");
    }
}
