//! The records of batches.

use std::time::Duration;

use async_trait::async_trait;
use protocol::{BatchId, TenantId, Timestamp, record};
use rusqlite::{OptionalExtension, params};

use super::SqliteBroker;
use super::column::{Key, millis};
use super::store::Tx;
use crate::{BATCH_TTL, Batch, BatchList, BatchPage, BatchStep, Batches, BrokerError, NewBatch};

#[async_trait]
impl Batches for SqliteBroker {
    async fn create_batch(&self, new: &NewBatch) -> Result<Batch, BrokerError> {
        let new = new.clone();
        let work = move |tx: &mut Tx<'_>| {
            let now = Timestamp::now();
            if let Some(batch) = find(tx, &new.tenant, new.id)? {
                return Ok(batch);
            }
            let batch = Batch::new(new, now);
            tx.sql
                .prepare_cached(
                    "INSERT INTO batches (id, tenant, record, due) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![
                    key(batch.request.id),
                    batch.request.tenant.as_str(),
                    record::encode(&batch)?,
                    millis(now)
                ])?;
            Ok(batch)
        };
        self.inner.store.run(work).await
    }

    async fn batch(&self, tenant: &TenantId, id: BatchId) -> Result<Option<Batch>, BrokerError> {
        let tenant = tenant.clone();
        self.inner.store.run(move |tx| find(tx, &tenant, id)).await
    }

    async fn batches(&self, tenant: &TenantId, page: &BatchPage) -> Result<BatchList, BrokerError> {
        let (tenant, page) = (tenant.clone(), page.clone());
        self.inner.store.run(move |tx| list(tx, &tenant, &page)).await
    }

    async fn step_batch(
        &self,
        tenant: &TenantId,
        id: BatchId,
        step: &BatchStep,
    ) -> Result<Option<(Batch, bool)>, BrokerError> {
        let (tenant, step) = (tenant.clone(), step.clone());
        self.inner.store.run(move |tx| apply(tx, &tenant, id, &step, Timestamp::now())).await
    }

    async fn due_batches(&self, span: Duration, limit: usize) -> Result<Vec<Batch>, BrokerError> {
        self.inner.store.run(move |tx| take(tx, span, limit, Timestamp::now())).await
    }

    async fn running_batches(&self, limit: usize) -> Result<(Vec<Batch>, u64), BrokerError> {
        self.inner.store.run(move |tx| running(tx, limit)).await
    }

    async fn hold_batch(
        &self,
        tenant: &TenantId,
        id: BatchId,
        span: Duration,
    ) -> Result<(), BrokerError> {
        let tenant = tenant.clone();
        let work = move |tx: &mut Tx<'_>| {
            tx.sql
                .prepare_cached(
                    "UPDATE batches SET due = ?3
                     WHERE id = ?1 AND tenant = ?2 AND due IS NOT NULL",
                )?
                .execute(params![key(id), tenant.as_str(), millis(Timestamp::now() + span)])?;
            Ok(())
        };
        self.inner.store.run(work).await
    }
}

fn key(id: BatchId) -> Key {
    id.as_uuid().into_bytes()
}

fn batch(text: String) -> Result<Batch, BrokerError> {
    Ok(record::decode(&text)?)
}

fn find(tx: &Tx<'_>, tenant: &TenantId, id: BatchId) -> Result<Option<Batch>, BrokerError> {
    let found = tx
        .sql
        .prepare_cached(
            "SELECT record FROM batches
             WHERE id = ?1 AND tenant = ?2 AND (expires IS NULL OR expires > ?3)",
        )?
        .query_row(params![key(id), tenant.as_str(), millis(Timestamp::now())], |row| row.get(0))
        .optional()?;
    found.map(batch).transpose()
}

fn list(tx: &Tx<'_>, tenant: &TenantId, page: &BatchPage) -> Result<BatchList, BrokerError> {
    let before = page.after.map_or([0xFF; 16], key);
    let most = i64::try_from(page.limit.saturating_add(1)).unwrap_or(i64::MAX);
    let rows = tx
        .sql
        .prepare_cached(
            "SELECT record FROM batches
             WHERE tenant = ?1 AND id < ?2 AND (expires IS NULL OR expires > ?3)
             ORDER BY id DESC LIMIT ?4",
        )?
        .query_map(params![tenant.as_str(), before, millis(Timestamp::now()), most], |row| {
            row.get(0)
        })?
        .collect::<Result<Vec<_>, _>>()?;
    let has_more = rows.len() > page.limit;
    let batches = rows.into_iter().take(page.limit).map(batch).collect::<Result<_, _>>()?;
    Ok(BatchList { batches, has_more })
}

fn apply(
    tx: &Tx<'_>,
    tenant: &TenantId,
    id: BatchId,
    step: &BatchStep,
    now: Timestamp,
) -> Result<Option<(Batch, bool)>, BrokerError> {
    let Some(mut batch) = find(tx, tenant, id)? else { return Ok(None) };
    if !batch.apply(step, now) {
        return Ok(Some((batch, false)));
    }
    tx.sql
        .prepare_cached("UPDATE batches SET record = ?2 WHERE id = ?1")?
        .execute(params![key(id), record::encode(&batch)?])?;
    if batch.is_settled() {
        tx.sql
            .prepare_cached("UPDATE batches SET due = NULL, expires = ?2 WHERE id = ?1")?
            .execute(params![key(id), millis(now + BATCH_TTL)])?;
    }
    Ok(Some((batch, true)))
}

fn running(tx: &Tx<'_>, limit: usize) -> Result<(Vec<Batch>, u64), BrokerError> {
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = tx
        .sql
        .prepare_cached("SELECT record FROM batches WHERE due IS NOT NULL ORDER BY due LIMIT ?1")?
        .query_map([most], |row| row.get(0))?
        .collect::<Result<Vec<_>, _>>()?;
    let count: i64 = tx
        .sql
        .prepare_cached("SELECT count(*) FROM batches WHERE due IS NOT NULL")?
        .query_row([], |row| row.get(0))?;
    let batches = rows.into_iter().map(batch).collect::<Result<_, _>>()?;
    Ok((batches, u64::try_from(count).unwrap_or_default()))
}

fn take(
    tx: &Tx<'_>,
    span: Duration,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<Batch>, BrokerError> {
    tx.sql.prepare_cached("DELETE FROM batches WHERE expires <= ?1")?.execute([millis(now)])?;
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = tx
        .sql
        .prepare_cached(
            "UPDATE batches SET due = ?1 WHERE id IN
                 (SELECT id FROM batches WHERE due <= ?2 ORDER BY due LIMIT ?3)
             RETURNING record",
        )?
        .query_map(params![millis(now + span), millis(now), most], |row| row.get(0))?
        .collect::<Result<Vec<_>, _>>()?;
    rows.into_iter().map(batch).collect()
}
