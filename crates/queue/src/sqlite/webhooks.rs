//! Webhooks: stored by the submit, due at the task's end, with a report after the last try.

use std::time::Duration;

use async_trait::async_trait;
use protocol::{Outcome, Task, TenantId, Timestamp, Webhook, WebhookForm, WebhookId, record};
use rusqlite::{OptionalExtension, params};

use super::SqliteBroker;
use super::column::{Key, Name, instant, key, millis, task_id, unsigned, webhook_id, webhook_key};
use super::course::Course;
use super::store::Tx;
use crate::stored::{Ending, Tries};
use crate::{
    BrokerError, Content, Delivery, Notice, TaskEnd, Tried, Verdict, WEBHOOK_REPORT_TTL,
    WebhookReport, WebhookState, Webhooks,
};

#[async_trait]
impl Webhooks for SqliteBroker {
    async fn notify(&self, notice: &Notice) -> Result<(), BrokerError> {
        let notice = notice.clone();
        self.inner.store.run(move |tx| store_notice(tx, &notice, Timestamp::now())).await
    }

    async fn due_webhooks(
        &self,
        span: Duration,
        limit: usize,
    ) -> Result<Vec<Delivery>, BrokerError> {
        self.inner.store.run(move |tx| take(tx, span, limit, Timestamp::now())).await
    }

    async fn webhook_tried(
        &self,
        id: WebhookId,
        tried: &Tried,
        verdict: Verdict,
    ) -> Result<(), BrokerError> {
        let said = tried.clone();
        self.inner.store.run(move |tx| tried_at(tx, id, &said, verdict, Timestamp::now())).await
    }

    async fn webhook(&self, id: WebhookId) -> Result<Option<WebhookReport>, BrokerError> {
        self.inner.store.run(move |tx| report(tx, id, Timestamp::now())).await
    }
}

/// Stores a task's webhook until the task ends.
pub(super) fn store(
    tx: &Tx<'_>,
    task: &Task,
    webhook: &Webhook,
    now: Timestamp,
) -> Result<(), BrokerError> {
    let metadata = serde_json::to_string(&task.metadata).map_err(corrupt)?;
    tx.sql
        .prepare_cached(
            "INSERT OR REPLACE INTO webhooks (task, tenant, url, form, metadata, submitted, state)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'waiting')",
        )?
        .execute(params![
            key(task.id),
            task.tenant.as_str(),
            webhook.url,
            Name(webhook.form),
            metadata,
            millis(now)
        ])?;
    Ok(())
}

/// Stores a delivery that belongs to no task, unless there is one of that id.
fn store_notice(tx: &Tx<'_>, notice: &Notice, now: Timestamp) -> Result<(), BrokerError> {
    let Notice { id, tenant, url, body } = notice;
    tx.sql
        .prepare_cached(
            "INSERT INTO webhooks (task, tenant, url, metadata, submitted, state, due, finished, body)
             VALUES (?1, ?2, ?3, '{}', ?4, 'pending', ?4, ?4, ?5) ON CONFLICT (task) DO NOTHING",
        )?
        .execute(params![webhook_key(*id), tenant.as_str(), url, millis(now), body])?;
    Ok(())
}

/// Makes the webhook of an ending task due, if it has one.
pub(super) fn fall_due(
    tx: &Tx<'_>,
    course: &Course,
    now: Timestamp,
    ending: &Ending,
) -> Result<(), BrokerError> {
    tx.sql
        .prepare_cached(
            "UPDATE webhooks SET state = 'pending', due = ?2, finished = ?2, started = ?3,
                    outcome = ?4
             WHERE task = ?1 AND state = 'waiting'",
        )?
        .execute(params![key(course.id), millis(now), course.started, ending.outcome])?;
    Ok(())
}

/// Returns the number of webhooks not yet delivered or given up.
pub(super) fn pending(tx: &Tx<'_>) -> Result<u64, BrokerError> {
    let count: i64 = tx
        .sql
        .prepare_cached("SELECT count(*) FROM webhooks WHERE state = 'pending'")?
        .query_row([], |row| row.get(0))?;
    Ok(unsigned(count))
}

/// Assigns due deliveries to the caller for `span`.
fn take(
    tx: &Tx<'_>,
    span: Duration,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<Delivery>, BrokerError> {
    let due = tx
        .sql
        .prepare_cached(
            "SELECT task FROM webhooks WHERE state = 'pending' AND due <= ?1
             ORDER BY due LIMIT ?2",
        )?
        .query_map(params![millis(now), i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
            row.get::<_, Key>(0)
        })?
        .collect::<Result<Vec<_>, _>>()?;
    let mut deliveries = Vec::with_capacity(due.len());
    for task in due {
        match hand_out(tx, task, now + span)? {
            Ok(delivery) => deliveries.push(delivery),
            // Keep it for a build that can read it.
            Err(error) => {
                tracing::warn!(webhook_id = %webhook_id(task), %error, "cannot read the stored record of a webhook")
            }
        }
    }
    Ok(deliveries)
}

fn hand_out(
    tx: &Tx<'_>,
    task: Key,
    until: Timestamp,
) -> Result<Result<Delivery, BrokerError>, BrokerError> {
    let mut take = tx.sql.prepare_cached(
        "UPDATE webhooks SET number = number + 1, due = ?2 WHERE task = ?1
         RETURNING tenant, url, number, outcome, metadata, submitted, started, finished, form, body",
    )?;
    let mut rows = take.query(params![task, millis(until)])?;
    let row = rows.next()?.ok_or_else(|| corrupt("the record of a due webhook is missing"))?;
    let since = instant(row.get(7)?);
    let content = match row.get(9)? {
        Some(body) => Content::Notice(body),
        None => {
            let (outcome, metadata): (String, String) = (row.get(3)?, row.get(4)?);
            Content::Task(Box::new(TaskEnd {
                task_id: task_id(task),
                form: row.get::<_, Name<WebhookForm>>(8)?.0,
                outcome: match record::decode::<Outcome>(&outcome) {
                    Ok(outcome) => outcome,
                    Err(error) => return Ok(Err(error.into())),
                },
                metadata: serde_json::from_str(&metadata).map_err(corrupt)?,
                submitted_at: instant(row.get(5)?),
                started_at: row.get::<_, Option<i64>>(6)?.map(instant),
                finished_at: since,
            }))
        }
    };
    Ok(Ok(Delivery {
        id: webhook_id(task),
        tenant: TenantId::new(row.get::<_, String>(0)?),
        url: row.get(1)?,
        number: row.get(2)?,
        since,
        content,
    }))
}

/// Records the result of a try; if it is the current one, its verdict applies.
fn tried_at(
    tx: &Tx<'_>,
    id: WebhookId,
    tried: &Tried,
    verdict: Verdict,
    now: Timestamp,
) -> Result<(), BrokerError> {
    let found: Option<(Name<WebhookState>, u32, Option<String>)> = tx
        .sql
        .prepare_cached("SELECT state, number, tries FROM webhooks WHERE task = ?1")?
        .query_row([webhook_key(id)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((state, number, tries)) = found else { return Ok(()) };
    if tried.number > number {
        return Ok(()); // never handed out
    }
    let Some(tries) = Tries::read(tries.as_deref())?.with(tried) else {
        return Ok(()); // repeated
    };
    tx.sql
        .prepare_cached("UPDATE webhooks SET tries = ?2 WHERE task = ?1")?
        .execute(params![webhook_key(id), record::encode(&tries)?])?;
    if state.0 != WebhookState::Pending || number != tried.number {
        return Ok(());
    }
    let (state, due, expires) = match verdict {
        Verdict::Again(pause) => (WebhookState::Pending, Some(millis(now + pause)), None),
        Verdict::Delivered => {
            (WebhookState::Delivered, None, Some(millis(now + WEBHOOK_REPORT_TTL)))
        }
        Verdict::GivenUp => (WebhookState::GivenUp, None, Some(millis(now + WEBHOOK_REPORT_TTL))),
    };
    tx.sql
        .prepare_cached("UPDATE webhooks SET state = ?2, due = ?3, expires = ?4 WHERE task = ?1")?
        .execute(params![webhook_key(id), Name(state), due, expires])?;
    Ok(())
}

/// Returns the report of a webhook.
fn report(
    tx: &Tx<'_>,
    id: WebhookId,
    now: Timestamp,
) -> Result<Option<WebhookReport>, BrokerError> {
    let mut query = tx.sql.prepare_cached(
        "SELECT tenant, url, state, due, tries FROM webhooks
         WHERE task = ?1 AND (expires IS NULL OR expires > ?2)",
    )?;
    let mut rows = query.query(params![webhook_key(id), millis(now)])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some(WebhookReport {
        tenant: TenantId::new(row.get::<_, String>(0)?),
        url: row.get(1)?,
        state: row.get::<_, Name<_>>(2)?.0,
        next_at: row.get::<_, Option<i64>>(3)?.map(instant),
        tries: Tries::read(row.get::<_, Option<String>>(4)?.as_deref())?.tries,
    }))
}

fn corrupt(reason: impl ToString) -> BrokerError {
    BrokerError::Corrupt(reason.to_string())
}
