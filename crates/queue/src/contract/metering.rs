//! Limits that a submit is checked against, and the use of ended tasks.
//!
//! A submit brings a [`Charge`]: who pays, how many tokens it reserves, and the [`Meter`]s that must have room. The
//! store checks all meters and charges them in the submit's own atomic step, or charges none. The step that records the
//! task's end settles the charge: frees its place, gives back tokens that were reserved and not used (or takes those
//! used beyond), and adds the task to its day's usage. So each task is settled and counted once, whatever dies.

use async_trait::async_trait;
use protocol::{KeyId, TenantId, UsageRow};
use std::time::Duration;

use super::BrokerError;

/// What a submit costs, and which limits hold for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Charge {
    /// The key whose usage the task counts for; `None` counts for the key `none`.
    pub key: Option<KeyId>,
    /// Tokens to reserve: an estimate of the prompt, and the most that may be generated.
    pub tokens: u64,
    /// The limits. All must have room.
    pub meters: Vec<Meter>,
}

/// A limit on what a subject may use. Meters of one (kind, subject) share their state, whatever their limits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Meter {
    /// What it counts.
    pub kind: MeterKind,
    /// Whose use it counts, such as `key_…`, an owner or an address. No spaces or control characters.
    pub subject: String,
    /// The amount allowed; at least 1.
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
    /// Tasks that wait or run. Settled.
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

/// Selects rows of usage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageQuery {
    /// The first day, `YYYY-MM-DD`.
    pub from: String,
    /// The last day, `YYYY-MM-DD`.
    pub to: String,
    /// The owner; `None` for all.
    pub owner: Option<TenantId>,
}

/// The part of a [`Broker`](crate::Broker) that meters use.
#[async_trait]
pub trait Metering: Send + Sync {
    /// Returns the state of meters without charging them, in the same order.
    async fn readings(
        &self,
        owner: &TenantId,
        meters: &[Meter],
    ) -> Result<Vec<Reading>, BrokerError>;

    /// Returns the usage of the days from `from` to `to`, one row per day, owner, key and model, sorted by these.
    async fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, BrokerError>;

    /// Deletes the usage of days before `day`, `YYYY-MM-DD`. Idempotent.
    async fn forget_usage(&self, day: &str) -> Result<(), BrokerError>;
}
