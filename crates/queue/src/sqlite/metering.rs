//! Usage: counts ended tasks, and implements [`Metering`].

use async_trait::async_trait;
use protocol::{KeyId, ModelId, TaskState, TenantId, Timestamp, UsageCounts, UsageRow};
use rusqlite::{Row, named_params};

use super::SqliteBroker;
use super::column::{key, millis, unsigned};
use super::course::Course;
use super::meters::{self, Receipt};
use super::store::Tx;
use crate::NO_KEY;
use crate::stored::{Ending, day};
use crate::{BrokerError, Meter, Metering, Reading, UsageQuery};

#[async_trait]
impl Metering for SqliteBroker {
    async fn readings(
        &self,
        owner: &TenantId,
        meters: &[Meter],
    ) -> Result<Vec<Reading>, BrokerError> {
        let (owner, meters) = (owner.clone(), meters.to_vec());
        let work = move |tx: &mut Tx<'_>| {
            let now = Timestamp::now();
            let levels = meters::levels(tx, owner.as_str(), &meters, now)?;
            Ok(meters.iter().zip(levels).map(|(meter, at)| meter.reading(at, now)).collect())
        };
        self.inner.store.run(work).await
    }

    async fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, BrokerError> {
        let (from, to) = (day(&query.from)?.to_string(), day(&query.to)?.to_string());
        let owner = query.owner.as_ref().map(|owner| owner.as_str().to_owned());
        let work = move |tx: &mut Tx<'_>| {
            let mut query = tx.sql.prepare_cached(
                "SELECT day, owner, key, model, requests, errors, cancelled, prompt_tokens, cached_tokens,
                        completion_tokens, images, wait_ms, compute_ms
                 FROM usage WHERE day BETWEEN :from AND :to AND (:owner IS NULL OR owner = :owner)
                 ORDER BY day, owner, key, model",
            )?;
            let by = named_params! { ":from": from, ":to": to, ":owner": owner };
            Ok(query.query_map(by, usage_row)?.collect::<Result<_, _>>()?)
        };
        self.inner.store.run(work).await
    }

    async fn forget_usage(&self, before: &str) -> Result<(), BrokerError> {
        let before = day(before)?.to_string();
        let work = move |tx: &mut Tx<'_>| {
            tx.sql.prepare_cached("DELETE FROM usage WHERE day < ?1")?.execute([before])?;
            Ok(())
        };
        self.inner.store.run(work).await
    }
}

fn usage_row(row: &Row<'_>) -> rusqlite::Result<UsageRow> {
    let count = |nth| row.get(nth).map(unsigned);
    Ok(UsageRow {
        day: row.get(0)?,
        owner: TenantId::new(row.get::<_, String>(1)?),
        key: KeyId::from_text(row.get::<_, String>(2)?),
        model: ModelId::new(row.get::<_, String>(3)?),
        counts: UsageCounts {
            requests: count(4)?,
            errors: count(5)?,
            cancelled: count(6)?,
            prompt_tokens: count(7)?,
            cached_tokens: count(8)?,
            completion_tokens: count(9)?,
            images: count(10)?,
            wait_ms: count(11)?,
            compute_ms: count(12)?,
        },
    })
}

/// Settles the charge of a task that ends, and counts its use. Call before its row is changed.
pub(super) fn end(
    tx: &Tx<'_>,
    course: &Course,
    now: Timestamp,
    ending: &Ending,
) -> Result<(), BrokerError> {
    let (charge, first_start, submitted): (Option<String>, Option<i64>, i64) = tx
        .sql
        .prepare_cached("SELECT charge, first_start, submitted FROM tasks WHERE id = ?1")?
        .query_row([key(course.id)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let receipt: Option<Receipt> = charge
        .map(|text| serde_json::from_str(&text).map_err(protocol::RecordError::from))
        .transpose()?;
    let usage = ending.usage;
    if let Some(receipt) = &receipt {
        let used = u64::from(usage.prompt_tokens) + u64::from(usage.completion_tokens);
        meters::settle(tx, &course.tenant, receipt, used, now)?;
    }
    let was_running = course.state == TaskState::Processing;
    let since = |start: Option<i64>, end: i64| start.map_or(0, |start| (end - start).max(0));
    let key = receipt.as_ref().and_then(|receipt| receipt.key.as_deref()).unwrap_or(NO_KEY);
    let is = |state| i64::from(ending.state == state);
    tx.sql
        .prepare_cached(
            "INSERT INTO usage (day, owner, key, model, requests, errors, cancelled, prompt_tokens,
                                cached_tokens, completion_tokens, images, wait_ms, compute_ms)
             VALUES (:day, :owner, :key, :model, 1, :errors, :cancelled, :prompt, :cached, :completion,
                     :images, :wait, :compute)
             ON CONFLICT (day, owner, key, model) DO UPDATE SET
                 requests = requests + 1, errors = errors + :errors, cancelled = cancelled + :cancelled,
                 prompt_tokens = prompt_tokens + :prompt, cached_tokens = cached_tokens + :cached,
                 completion_tokens = completion_tokens + :completion, images = images + :images,
                 wait_ms = wait_ms + :wait, compute_ms = compute_ms + :compute",
        )?
        .execute(named_params! {
            ":day": now.day().to_string(),
            ":owner": course.tenant,
            ":key": key,
            ":model": course.model,
            ":errors": is(TaskState::Failed),
            ":cancelled": is(TaskState::Cancelled),
            ":prompt": usage.prompt_tokens,
            ":cached": usage.cached_tokens,
            ":completion": usage.completion_tokens,
            ":images": receipt.as_ref().filter(|_| usage.prompt_tokens > 0).map_or(0, |it| it.images),
            ":wait": since(Some(submitted), first_start.unwrap_or(submitted)),
            ":compute": if was_running { since(course.started, millis(now)) } else { 0 },
        })?;
    Ok(())
}
