//! The records of batches.

use std::time::Duration;

use async_trait::async_trait;
use protocol::{BatchId, TenantId, Timestamp, record};
use rusqlite::{OptionalExtension, Row, params};

use super::SqliteBroker;
use super::column::{Key, millis};
use super::store::Tx;
use crate::{
    BATCH_TTL, Batch, BatchList, BatchPage, BatchRecord, BatchStep, Batches, BrokerError,
    LineCounts, LineEnd, NewBatch,
};

#[async_trait]
impl Batches for SqliteBroker {
    async fn create_batch(&self, new: &NewBatch) -> Result<Batch, BrokerError> {
        let new = new.clone();
        let work = move |tx: &mut Tx<'_>| {
            let now = Timestamp::now();
            if let Some(batch) = find(tx, &new.tenant, new.id)? {
                return Ok(batch);
            }
            let record = BatchRecord::new(new, now);
            tx.sql
                .prepare_cached(
                    "INSERT INTO batches (id, tenant, record, due) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![
                    key(record.request.id),
                    record.request.tenant.as_str(),
                    record::encode(&record)?,
                    millis(now)
                ])?;
            Ok(Batch { record, lines: LineCounts::default() })
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

    async fn note_submitted(
        &self,
        tenant: &TenantId,
        id: BatchId,
        line: u32,
    ) -> Result<(), BrokerError> {
        let tenant = tenant.clone();
        let work = move |tx: &mut Tx<'_>| {
            tx.sql
                .prepare_cached(
                    "UPDATE batches SET submitted = max(submitted, ?3)
                     WHERE id = ?1 AND tenant = ?2 AND due IS NOT NULL",
                )?
                .execute(params![key(id), tenant.as_str(), line])?;
            Ok(())
        };
        self.inner.store.run(work).await
    }

    async fn count_line(
        &self,
        tenant: &TenantId,
        id: BatchId,
        line: u32,
        end: LineEnd,
    ) -> Result<bool, BrokerError> {
        let tenant = tenant.clone();
        self.inner.store.run(move |tx| count(tx, &tenant, id, line, end)).await
    }

    async fn due_batches(&self, span: Duration, limit: usize) -> Result<Vec<Batch>, BrokerError> {
        self.inner.store.run(move |tx| take(tx, span, limit, Timestamp::now())).await
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

/// A row of `record, completed, failed, submitted`.
fn read(row: &Row<'_>) -> rusqlite::Result<(String, LineCounts)> {
    let lines = LineCounts { completed: row.get(1)?, failed: row.get(2)?, submitted: row.get(3)? };
    Ok((row.get(0)?, lines))
}

fn batch((text, lines): (String, LineCounts)) -> Result<Batch, BrokerError> {
    Ok(Batch { record: record::decode(&text)?, lines })
}

fn find(tx: &Tx<'_>, tenant: &TenantId, id: BatchId) -> Result<Option<Batch>, BrokerError> {
    let found = tx
        .sql
        .prepare_cached(
            "SELECT record, completed, failed, submitted FROM batches
             WHERE id = ?1 AND tenant = ?2 AND (expires IS NULL OR expires > ?3)",
        )?
        .query_row(params![key(id), tenant.as_str(), millis(Timestamp::now())], read)
        .optional()?;
    found.map(batch).transpose()
}

fn list(tx: &Tx<'_>, tenant: &TenantId, page: &BatchPage) -> Result<BatchList, BrokerError> {
    let before = page.after.map_or([0xFF; 16], key);
    let most = i64::try_from(page.limit.saturating_add(1)).unwrap_or(i64::MAX);
    let rows = tx
        .sql
        .prepare_cached(
            "SELECT record, completed, failed, submitted FROM batches
             WHERE tenant = ?1 AND id < ?2 AND (expires IS NULL OR expires > ?3)
             ORDER BY id DESC LIMIT ?4",
        )?
        .query_map(params![tenant.as_str(), before, millis(Timestamp::now()), most], read)?
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
    if !batch.record.apply(step, now) {
        return Ok(Some((batch, false)));
    }
    tx.sql
        .prepare_cached("UPDATE batches SET record = ?2 WHERE id = ?1")?
        .execute(params![key(id), record::encode(&batch.record)?])?;
    if batch.record.state.is_end() {
        tx.sql
            .prepare_cached("UPDATE batches SET due = NULL, expires = ?2 WHERE id = ?1")?
            .execute(params![key(id), millis(now + BATCH_TTL)])?;
        tx.sql.prepare_cached("DELETE FROM batch_lines WHERE batch = ?1")?.execute([key(id)])?;
    }
    Ok(Some((batch, true)))
}

fn count(
    tx: &Tx<'_>,
    tenant: &TenantId,
    id: BatchId,
    line: u32,
    end: LineEnd,
) -> Result<bool, BrokerError> {
    let added = tx
        .sql
        .prepare_cached(
            "INSERT OR IGNORE INTO batch_lines SELECT id, ?3 FROM batches
             WHERE id = ?1 AND tenant = ?2 AND due IS NOT NULL",
        )?
        .execute(params![key(id), tenant.as_str(), line])?;
    if added == 0 {
        return Ok(false);
    }
    let (completed, failed) = match end {
        LineEnd::Completed => (1, 0),
        LineEnd::Failed => (0, 1),
    };
    tx.sql
        .prepare_cached(
            "UPDATE batches SET completed = completed + ?2, failed = failed + ?3 WHERE id = ?1",
        )?
        .execute(params![key(id), completed, failed])?;
    Ok(true)
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
             RETURNING record, completed, failed, submitted",
        )?
        .query_map(params![millis(now + span), millis(now), most], read)?
        .collect::<Result<Vec<_>, _>>()?;
    rows.into_iter().map(batch).collect()
}
