//! Webhooks as the queue keeps them: what is to be delivered, when, and what became of it. Signing,
//! sending and the guard are the deliverer's.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use protocol::{Outcome, TaskId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use super::BrokerError;

/// How long what became of a webhook can be read once it was delivered or given up (24 h).
pub const WEBHOOK_REPORT_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// At most this many tries are kept in a report: the latest.
pub const MAX_TRIES_KEPT: usize = 16;

/// The deliverers' side of a [`Broker`](crate::Broker). A task with a webhook makes exactly one
/// delivery when it ends, in the same atomic step; several deliverers share the work.
#[async_trait]
pub trait Webhooks: Send + Sync {
    /// Takes deliveries that are due, at most `limit`. Each is the caller's for `span`: unless it
    /// says by then what became of the try ([`Self::webhook_tried`]), the delivery is due again.
    async fn due_webhooks(
        &self,
        span: Duration,
        limit: usize,
    ) -> Result<Vec<Delivery>, BrokerError>;

    /// Records what became of a try. One that is not the delivery's current one, since its time ran
    /// out and another began, is noted in the report and changes nothing else.
    async fn webhook_tried(
        &self,
        id: TaskId,
        tried: &Tried,
        verdict: Verdict,
    ) -> Result<(), BrokerError>;

    /// What became of a task's webhook so far; none when it has none, or the report has expired.
    async fn webhook(&self, id: TaskId) -> Result<Option<WebhookReport>, BrokerError>;
}

/// One try at one webhook.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// The task whose end it tells.
    pub task_id: TaskId,
    /// Whose task; whose secret signs.
    pub tenant: TenantId,
    /// Where to.
    pub url: String,
    /// Which try this is, from 1.
    pub number: u32,
    /// How the task ended.
    pub outcome: Outcome,
    /// The client's own notes.
    pub metadata: BTreeMap<String, String>,
    /// When it was accepted.
    pub submitted_at: Timestamp,
    /// When the attempt that ended it began; none when it ended without one.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// What came of one try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Which try, from 1.
    pub number: u32,
    /// When it ended, on the deliverer's clock.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// What it came to.
    pub result: TryResult,
}

/// What the receiver, or the way to it, said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TryResult {
    /// The receiver answered with this HTTP status.
    Status(u16),
    /// No answer came: why, in words that give no secret and no address away.
    Error(String),
}

/// What follows from a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It arrived: done.
    Delivered,
    /// Try again after this pause.
    Again(Duration),
    /// No further try.
    GivenUp,
}

/// What became of a webhook so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookReport {
    /// Whose.
    pub tenant: TenantId,
    /// Where to.
    pub url: String,
    /// Where it stands.
    pub state: WebhookState,
    /// When the next try is due; none when none follows.
    pub next_at: Option<Timestamp>,
    /// The tries, in order.
    pub tries: Vec<Tried>,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookState {
    /// The task has not ended.
    Waiting,
    /// Due, or resting between tries.
    Pending,
    /// It arrived.
    Delivered,
    /// All tries failed, or the receiver wants no more.
    GivenUp,
}
