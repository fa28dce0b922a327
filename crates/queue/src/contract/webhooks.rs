//! Webhook deliveries in the queue: their content, due times and results. The deliverer signs, sends
//! and checks addresses.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use protocol::{Outcome, TaskId, TenantId, Timestamp, WebhookForm, WebhookId};
use serde::{Deserialize, Serialize};

use super::BrokerError;

/// How long a webhook's report can be read after it was delivered or given up (24 h).
pub const WEBHOOK_REPORT_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// The maximum number of tries kept in a report: the latest.
pub const MAX_TRIES_KEPT: usize = 16;

/// The deliverers' side of a [`Broker`](crate::Broker). A task with a webhook creates exactly one
/// delivery when it ends, in the same atomic step; [`Self::notify`] creates others. Several deliverers
/// share the work.
#[async_trait]
pub trait Webhooks: Send + Sync {
    /// Creates a delivery that belongs to no task, such as for the end of a batch. It is due at once.
    /// Repeating the call with the same id changes nothing, until the delivery's report expires.
    async fn notify(&self, notice: &Notice) -> Result<(), BrokerError>;

    /// Takes up to `limit` due deliveries. Each belongs to the caller for `span`: unless the caller
    /// reports the result of the try by then ([`Self::webhook_tried`]), the delivery is due again.
    async fn due_webhooks(
        &self,
        span: Duration,
        limit: usize,
    ) -> Result<Vec<Delivery>, BrokerError>;

    /// Records the result of a try. If the try is not the delivery's current one, since its span
    /// expired and another try began, it is added to the report and changes nothing else.
    async fn webhook_tried(
        &self,
        id: WebhookId,
        tried: &Tried,
        verdict: Verdict,
    ) -> Result<(), BrokerError>;

    /// Returns the report of a webhook, or `None` if the task has no webhook or the report expired.
    async fn webhook(&self, id: WebhookId) -> Result<Option<WebhookReport>, BrokerError>;
}

/// A message for a receiver that belongs to no task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Identifies the delivery, also to the receiver, which gets it with every try.
    pub id: WebhookId,
    /// Whose secret signs the request.
    pub tenant: TenantId,
    /// The receiver's URL, checked by the gateway.
    pub url: String,
    /// The body.
    pub body: String,
}

/// One try at one webhook.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Identifies the delivery.
    pub id: WebhookId,
    /// Whose secret signs the request.
    pub tenant: TenantId,
    /// The receiver's URL.
    pub url: String,
    /// The number of this try, from 1.
    pub number: u32,
    /// The time since which it is due.
    pub since: Timestamp,
    /// What is delivered.
    pub content: Content,
}

/// The content of a delivery.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// The outcome of a task.
    Task(Box<TaskEnd>),
    /// The body of a [`Notice`].
    Notice(String),
}

/// A task that has ended, as its webhook reports it.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskEnd {
    /// The task.
    pub task_id: TaskId,
    /// The format of the body.
    pub form: WebhookForm,
    /// The outcome.
    pub outcome: Outcome,
    /// The client's metadata.
    pub metadata: BTreeMap<String, String>,
    /// The time when the task was accepted.
    pub submitted_at: Timestamp,
    /// The time when the attempt that ended it began, or `None` if it ended without one.
    pub started_at: Option<Timestamp>,
    /// The time when the task ended.
    pub finished_at: Timestamp,
}

/// The result of one try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// The number of the try, from 1.
    pub number: u32,
    /// The time when it ended, by the deliverer's clock.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// The status or error.
    pub result: TryResult,
}

/// The receiver's answer, or the reason why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TryResult {
    /// The HTTP status that the receiver returned.
    Status(u16),
    /// The reason why no response came. Contains no secret and no address.
    Error(String),
}

/// The consequence of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Delivered: no further try.
    Delivered,
    /// Retry after this pause.
    Again(Duration),
    /// Given up: no further try.
    GivenUp,
}

impl Delivery {
    /// Returns the ended task, or `None` if the delivery belongs to none.
    pub fn task(&self) -> Option<&TaskEnd> {
        match &self.content {
            Content::Task(end) => Some(end),
            Content::Notice(_) => None,
        }
    }
}

/// The report of a webhook: its state and its tries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookReport {
    /// The tenant of its task or notice.
    pub tenant: TenantId,
    /// The receiver's URL.
    pub url: String,
    /// The delivery's state.
    pub state: WebhookState,
    /// The time when the next try is due, or `None` if none follows.
    pub next_at: Option<Timestamp>,
    /// The tries, in order.
    pub tries: Vec<Tried>,
}

/// The state of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookState {
    /// The task has not ended.
    Waiting,
    /// Due, or in backoff between tries.
    Pending,
    /// Delivered.
    Delivered,
    /// All tries failed, or the receiver refused further ones.
    GivenUp,
}
