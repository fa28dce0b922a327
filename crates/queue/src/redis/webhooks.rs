//! The deliverers' side. `submit.lua` stores a webhook; the end of its task makes it due.

use std::time::Duration;

use async_trait::async_trait;
use protocol::{TaskId, TenantId, Timestamp, WebhookId, record};

use super::RedisBroker;
use super::hook::Hook;
use super::partition::Partition;
use super::partitions::some;
use super::reply::Reply;
use super::scripts::millis;
use crate::{
    BrokerError, Content, Delivery, Notice, TaskEnd, Tried, TryResult, Verdict, WebhookReport,
    WebhookState, Webhooks,
};

/// The maximum number returned at once, whatever the caller's limit.
const MOST: usize = 1_000;

#[async_trait]
impl Webhooks for RedisBroker {
    async fn notify(&self, notice: &Notice) -> Result<(), BrokerError> {
        self.partitions.of(task_like(notice.id)).await?.notify(notice).await
    }

    async fn due_webhooks(
        &self,
        span: Duration,
        limit: usize,
    ) -> Result<Vec<Delivery>, BrokerError> {
        let mut parts = Vec::new();
        let mut left = limit;
        for partition in self.partitions.all().await? {
            if left > 0 {
                let part = partition.due_webhooks(span, left).await;
                left = left.saturating_sub(part.as_ref().map_or(0, Vec::len));
                parts.push(part);
            }
        }
        some("list due webhooks", parts).map(|parts| parts.concat())
    }

    async fn webhook_tried(
        &self,
        id: WebhookId,
        tried: &Tried,
        verdict: Verdict,
    ) -> Result<(), BrokerError> {
        self.partitions.of(task_like(id)).await?.webhook_tried(id, tried, verdict).await
    }

    async fn webhook(&self, id: WebhookId) -> Result<Option<WebhookReport>, BrokerError> {
        self.partitions.of(task_like(id)).await?.webhook(id).await
    }
}

/// Returns the id of the task that has or would have this webhook: both are in one partition.
fn task_like(id: WebhookId) -> TaskId {
    id.as_uuid().into()
}

/// An unparsed delivery.
struct StoredDelivery {
    id: WebhookId,
    tenant: String,
    hook: String,
    number: u32,
    outcome: String,
    submitted_at: Timestamp,
    started_at: Option<Timestamp>,
    finished_at: Timestamp,
}

impl StoredDelivery {
    fn next(reply: &mut Reply) -> Result<Self, BrokerError> {
        Ok(Self {
            id: reply.parse()?,
            tenant: reply.text()?,
            hook: reply.text()?,
            number: reply.parse()?,
            outcome: reply.text()?,
            submitted_at: reply.instant()?,
            started_at: reply.optional()?.map(Timestamp::from_millis),
            finished_at: reply.instant()?,
        })
    }

    fn read(&self) -> Result<Delivery, BrokerError> {
        let Hook { url, form, body, metadata } = record::decode(&self.hook)?;
        let content = match body {
            Some(body) => Content::Notice(body),
            None => Content::Task(Box::new(TaskEnd {
                task_id: task_like(self.id),
                form,
                outcome: record::decode(&self.outcome)?,
                metadata,
                submitted_at: self.submitted_at,
                started_at: self.started_at,
                finished_at: self.finished_at,
            })),
        };
        Ok(Delivery {
            id: self.id,
            tenant: TenantId::new(self.tenant.as_str()),
            url,
            number: self.number,
            since: self.finished_at,
            content,
        })
    }
}

impl Partition {
    pub(super) async fn notify(&self, notice: &Notice) -> Result<(), BrokerError> {
        let hook = Hook {
            url: notice.url.clone(),
            form: Default::default(),
            body: Some(notice.body.clone()),
            metadata: Default::default(),
        };
        let mut call = self.scripts.notify.prepare_invoke();
        call.key(self.keys.base()).key(self.keys.hooks()).key(self.keys.hook(notice.id));
        call.arg(notice.id.to_string()).arg(notice.tenant.as_str()).arg(record::encode(&hook)?);
        self.link.run(&call).await.map(drop)
    }

    pub(super) async fn due_webhooks(
        &self,
        span: Duration,
        limit: usize,
    ) -> Result<Vec<Delivery>, BrokerError> {
        let mut call = self.scripts.due_webhooks.prepare_invoke();
        call.key(self.keys.base()).key(self.keys.hooks());
        call.arg(millis(span)).arg(limit.min(MOST));
        let mut reply = Reply::new("due_webhooks", self.link.run(&call).await?);
        let mut due = Vec::new();
        while !reply.is_read() {
            let stored = StoredDelivery::next(&mut reply)?;
            match stored.read() {
                Ok(delivery) => due.push(delivery),
                Err(error) => {
                    tracing::warn!(webhook_id = %stored.id, %error, "cannot read the stored record of a webhook");
                    let tried = Tried {
                        number: stored.number,
                        at: Timestamp::now(),
                        took_ms: 0,
                        result: TryResult::Error("its stored record can't be read".into()),
                    };
                    self.webhook_tried(stored.id, &tried, Verdict::GivenUp).await?;
                }
            }
        }
        Ok(due)
    }

    pub(super) async fn webhook_tried(
        &self,
        id: WebhookId,
        tried: &Tried,
        verdict: Verdict,
    ) -> Result<(), BrokerError> {
        let (state, pause) = match verdict {
            Verdict::Delivered => ("delivered", Duration::ZERO),
            Verdict::Again(pause) => ("pending", pause),
            Verdict::GivenUp => ("given_up", Duration::ZERO),
        };
        let mut call = self.scripts.webhook_tried.prepare_invoke();
        call.key(self.keys.base()).key(self.keys.hooks()).key(self.keys.hook(id));
        call.arg(id.to_string()).arg(tried.number).arg(record::encode(tried)?);
        call.arg(state).arg(millis(pause));
        self.link.run(&call).await.map(drop)
    }

    pub(super) async fn webhook(
        &self,
        id: WebhookId,
    ) -> Result<Option<WebhookReport>, BrokerError> {
        let mut call = self.scripts.webhook.prepare_invoke();
        call.key(self.keys.base()).key(self.keys.hooks()).key(self.keys.hook(id));
        call.key(self.keys.task(task_like(id))).arg(id.to_string());
        let mut reply = Reply::new("webhook", self.link.run(&call).await?);
        let state = match reply.text()?.as_str() {
            "none" => return Ok(None),
            "waiting" => WebhookState::Waiting,
            "pending" => WebhookState::Pending,
            "delivered" => WebhookState::Delivered,
            "given_up" => WebhookState::GivenUp,
            other => return Err(reply.unexpected(other)),
        };
        let tenant = TenantId::new(reply.text()?);
        let Hook { url, .. } = record::decode(&reply.text()?)?;
        let next_at = reply.optional()?.map(Timestamp::from_millis);
        let mut tries = Vec::new();
        for text in reply.rest() {
            tries.push(record::decode::<Tried>(&text)?);
        }
        tries.sort_by_key(|tried| tried.number);
        Ok(Some(WebhookReport { tenant, url, state, next_at, tries }))
    }
}
