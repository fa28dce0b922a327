//! Describes a limit on use that has no room: for programs and for people. Knows no API's format.

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

/// Returns the message: which limit it is and whose, its value, what is left, and when to try again.
pub(crate) fn message(exhausted: &Exhausted) -> String {
    let whose = match &*exhausted.reading.meter.subject {
        subject if subject.starts_with(OWNER) => "all API keys of this owner together",
        subject if subject.starts_with(ENDPOINT) => "this API key on this route",
        _ => "this API key",
    };
    format!("{exhausted} (it holds for {whose})")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use queue::{Meter, Reading};

    use super::*;

    fn exhausted(kind: MeterKind, subject: &str, retry_ms: Option<u64>) -> Exhausted {
        let meter = Meter { kind, subject: subject.into(), limit: 10 };
        let reading = Reading { meter, remaining: 3, reset: Duration::from_secs(60), reserved: 0 };
        Exhausted { reading, asked: 7, retry_after: retry_ms.map(Duration::from_millis) }
    }

    #[test]
    fn messages_name_the_limit_and_for_whom_it_holds() {
        let minute = MeterKind::Requests { period_s: 60 };
        for (subject, whose) in [
            ("key_1", "(it holds for this API key)"),
            ("owner:acme", "(it holds for all API keys of this owner together)"),
            ("generate:key_1", "(it holds for this API key on this route)"),
        ] {
            let message = message(&exhausted(minute, subject, Some(4_210)));
            assert!(message.contains("10 requests per minute is reached: 3 left"), "{message}");
            assert!(message.ends_with(whose) && !message.contains("acme"), "{message}");
        }
    }

    #[test]
    fn limits_that_never_have_room_are_told_apart() {
        let of = |kind, retry| Limited::of(&exhausted(kind, "key_1", retry));
        assert_eq!(of(MeterKind::Tokens, None), Limited::TooLarge);
        assert_eq!(of(MeterKind::DailyTokens, None), Limited::TooLarge);
        assert_eq!(of(MeterKind::DailyTokens, Some(1)), Limited::Quota);
        assert_eq!(of(MeterKind::InFlight, Some(1)), Limited::InFlight);
    }
}
