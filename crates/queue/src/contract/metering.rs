//! Limits that a submit is checked against, and the use of ended tasks.
//!
//! A submit brings a [`Charge`](crate::Charge): who pays, how many tokens it reserves, and the [`Meter`]s that must have room. The
//! store checks all meters and charges them in the submit's own atomic step, or charges none. The step that records the
//! task's end settles the charge: frees its place, gives back tokens that were reserved and not used (or takes those
//! used beyond), and adds the task to its day's usage. So each task is settled and counted once, whatever dies.

use async_trait::async_trait;
use protocol::{TenantId, UsageRow};

use super::{BrokerError, Meter, Reading};

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
