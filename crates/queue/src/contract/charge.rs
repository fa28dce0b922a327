//! What a submit is charged, and the limits that it is checked against.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use protocol::KeyId;

/// The key for which the usage of tasks counts whose [`Charge`] names none.
pub const NO_KEY: &str = "none";

/// What a submit costs, and which limits hold for it. A repetition of an earlier submit is not charged, and neither is
/// one that a bound refuses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Charge {
    /// Who pays, and within which limits.
    pub payer: Payer,
    /// Tokens to reserve: an estimate of the prompt, and the most that may be generated.
    pub tokens: u64,
}

impl Charge {
    /// Returns the limits of the payer.
    pub fn meters(&self) -> &[Meter] {
        self.payer.meters()
    }
}

/// The key that pays for submits, and the limits that hold for them. It is prepared once and used for many submits:
/// clones share it.
#[derive(Debug, Clone, Default)]
pub struct Payer(Option<Arc<Account>>);

#[derive(Debug)]
struct Account {
    key: Option<KeyId>,
    meters: Vec<Meter>,
    /// The form in which a store takes it.
    encoded: OnceLock<Box<[u8]>>,
}

impl Payer {
    /// No key, and no limits.
    pub const NONE: Self = Self(None);

    /// Usage counts for `key`; `None` counts for the key `none`. No two of the limits may have the same kind and
    /// subject. All must have room.
    pub fn new(key: Option<KeyId>, meters: Vec<Meter>) -> Self {
        let is_needed = key.is_some() || !meters.is_empty();
        Self(is_needed.then(|| Arc::new(Account { key, meters, encoded: OnceLock::new() })))
    }

    /// Returns the key whose usage tasks count for.
    pub fn key(&self) -> Option<&KeyId> {
        self.0.as_ref()?.key.as_ref()
    }

    /// Returns the limits.
    pub fn meters(&self) -> &[Meter] {
        self.0.as_ref().map_or(&[], |account| &account.meters)
    }

    /// Returns the form in which the store takes it, which `encode` computes once. `None` if there is neither a key
    /// nor a limit.
    pub(crate) fn encoded(&self, encode: fn(Option<&KeyId>, &[Meter]) -> Vec<u8>) -> Option<&[u8]> {
        let Account { key, meters, encoded } = &**self.0.as_ref()?;
        Some(encoded.get_or_init(|| encode(key.as_ref(), meters).into_boxed_slice()))
    }
}

impl PartialEq for Payer {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key() && self.meters() == other.meters()
    }
}

impl Eq for Payer {}

/// A limit on what a subject may use. Meters of one owner (the task's tenant), kind and subject share their state,
/// whatever their limits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Meter {
    /// What it counts.
    pub kind: MeterKind,
    /// Whose use it counts, such as `key_…`, an owner or an address.
    pub subject: Arc<str>,
    /// The amount allowed; 0 allows nothing.
    pub limit: u64,
}

/// What a [`Meter`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MeterKind {
    /// Tasks per `period`, by GCRA (the generic cell rate algorithm): up to `limit` at once, which come back evenly
    /// over the period. Not settled.
    Requests {
        /// The period in seconds: 1 to 86,400.
        period_s: u32,
    },
    /// Tokens per minute, by GCRA. A reservation beyond the whole limit is refused for good. Settled.
    Tokens,
    /// Tasks that wait or run. Settled. When one ends is unknown, so a refusal says to try again in a second.
    InFlight,
    /// Tokens per day (UTC) of the submit: used and reserved. Settled.
    DailyTokens,
    /// The same for tokens of batches, with a count of its own.
    DailyBatchTokens,
}

/// The state of a meter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The meter.
    pub meter: Meter,
    /// What is left of the limit; 0 if nothing is.
    pub remaining: u64,
    /// The time until all of the limit is left again, if nothing else is charged. Zero for [`MeterKind::InFlight`].
    pub reset: Duration,
    /// Of the daily kinds, the tokens that running tasks hold; 0 of others.
    pub reserved: u64,
}

/// A limit that has no room for a submit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exhausted {
    /// The state of the meter that has the least room. Of meters without room, the one that has room last.
    pub reading: Reading,
    /// The tokens or tasks that the submit asked for.
    pub asked: u64,
    /// The time until the submit would fit. `None` if it never fits, since it asks for more than the limit.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Exhausted {
    /// Says which limit, what is left, and when to try again. Never names the subject.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reading, asked, retry_after } = self;
        let Meter { kind, limit, .. } = reading.meter;
        if limit == 0 {
            return write!(f, "no {kind} are allowed");
        }
        let Some(retry_after) = retry_after else {
            return write!(
                f,
                "the request needs {asked} tokens, more than the limit of {limit} {kind}: shorten the prompt or \
                 lower max_tokens"
            );
        };
        write!(f, "the limit of {limit} {kind} is reached")?;
        match kind {
            MeterKind::InFlight => return write!(f, ": try again when one has ended"),
            MeterKind::Requests { .. } => write!(f, ": {} left", reading.remaining)?,
            _ => write!(f, ": {} left, the request needs {asked}", reading.remaining)?,
        }
        let tenths = retry_after.as_millis().div_ceil(100);
        match tenths {
            0..100 => write!(f, "; try again in {}.{} s", tenths / 10, tenths % 10),
            _ => write!(f, "; try again in {} s", tenths.div_ceil(10)),
        }
    }
}

impl fmt::Display for MeterKind {
    /// Names what the kind counts, and in which span.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requests { period_s: 1 } => f.write_str("requests per second"),
            Self::Requests { period_s: 60 } => f.write_str("requests per minute"),
            Self::Requests { period_s: 3_600 } => f.write_str("requests per hour"),
            Self::Requests { period_s: 86_400 } => f.write_str("requests per day"),
            Self::Requests { period_s } => write!(f, "requests per {period_s} s"),
            Self::Tokens => f.write_str("tokens per minute"),
            Self::InFlight => f.write_str("tasks that wait or run"),
            Self::DailyTokens => f.write_str("tokens per day"),
            Self::DailyBatchTokens => f.write_str("tokens of batches per day"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do_and_not_whose_limit_it_is() {
        let said = |kind, limit, remaining, asked, retry_after: Option<u64>| {
            let meter = Meter { kind, subject: "key_secret".into(), limit };
            let reading = Reading { meter, remaining, reset: Duration::ZERO, reserved: 0 };
            let retry_after = retry_after.map(Duration::from_millis);
            Exhausted { reading, asked, retry_after }.to_string()
        };
        for (said, expected) in [
            (
                said(MeterKind::Requests { period_s: 60 }, 600, 0, 1, Some(100)),
                "the limit of 600 requests per minute is reached: 0 left; try again in 0.1 s",
            ),
            (
                said(MeterKind::Requests { period_s: 10 }, 5, 0, 1, Some(1_901)),
                "the limit of 5 requests per 10 s is reached: 0 left; try again in 2.0 s",
            ),
            (
                said(MeterKind::Tokens, 1_000, 200, 700, Some(30_000)),
                "the limit of 1000 tokens per minute is reached: 200 left, the request needs 700; try again in \
                 30 s",
            ),
            (
                said(MeterKind::Tokens, 1_000, 200, 1_001, None),
                "the request needs 1001 tokens, more than the limit of 1000 tokens per minute: shorten the prompt \
                 or lower max_tokens",
            ),
            (said(MeterKind::InFlight, 0, 0, 1, None), "no tasks that wait or run are allowed"),
            (
                said(MeterKind::InFlight, 10, 0, 1, Some(1_000)),
                "the limit of 10 tasks that wait or run is reached: try again when one has ended",
            ),
            (
                said(MeterKind::DailyBatchTokens, 9, 1, 2, Some(11_103_001)),
                "the limit of 9 tokens of batches per day is reached: 1 left, the request needs 2; try again in \
                 11104 s",
            ),
        ] {
            assert_eq!(said, expected);
        }
    }
}
