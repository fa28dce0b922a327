//! Operators' operations: overview, pause, drain. Dead letters are in `letters.rs`.

use async_trait::async_trait;
use protocol::{Lane, ModelId, TaskId, Timestamp, WorkerId};
use rusqlite::{OptionalExtension, params};

use super::column::unsigned;
use super::store::Tx;
use super::{SqliteBroker, letters, line, webhooks, workers};
use crate::{
    BrokerError, DeadLetter, DeadLetterPage, Operations, Overview, Purge, QueueOverview, Submitted,
};

#[async_trait]
impl Operations for SqliteBroker {
    async fn overview(&self) -> Result<Overview, BrokerError> {
        self.inner.store.run(|tx| overview(tx, Timestamp::now())).await
    }

    async fn set_paused(&self, model: &ModelId, paused: bool) -> Result<(), BrokerError> {
        let model = model.clone();
        self.inner.store.run(move |tx| set_paused(tx, &model, paused)).await
    }

    async fn drain_worker(&self, id: WorkerId) -> Result<bool, BrokerError> {
        self.inner.store.run(move |tx| workers::drain(tx, id, Timestamp::now())).await
    }

    async fn dead_letters(&self, page: &DeadLetterPage) -> Result<Vec<DeadLetter>, BrokerError> {
        let page = page.clone();
        self.inner.store.run(move |tx| letters::page(tx, &page, Timestamp::now())).await
    }

    async fn dead_letter(&self, id: TaskId) -> Result<Option<DeadLetter>, BrokerError> {
        self.inner.store.run(move |tx| letters::one(tx, id, Timestamp::now())).await
    }

    async fn replay(&self, id: TaskId) -> Result<Option<Submitted>, BrokerError> {
        self.inner.store.run(move |tx| letters::replay(tx, id, Timestamp::now())).await
    }

    async fn purge_dead_letters(&self, which: &Purge) -> Result<u64, BrokerError> {
        let which = which.clone();
        self.inner.store.run(move |tx| letters::purge(tx, &which, Timestamp::now())).await
    }
}

/// Returns an overview of all queues.
pub(super) fn overview(tx: &Tx<'_>, now: Timestamp) -> Result<Overview, BrokerError> {
    let models = tx
        .sql
        .prepare_cached("SELECT model FROM stats ORDER BY model")?
        .query_map([], |row| row.get::<_, String>(0))?
        .collect::<Result<Vec<_>, _>>()?;
    let bytes: i64 =
        tx.sql.prepare_cached("SELECT bytes FROM totals")?.query_row([], |row| row.get(0))?;
    Ok(Overview {
        at: now,
        queues: models.into_iter().map(|model| queue(tx, model, now)).collect::<Result<_, _>>()?,
        queued_bytes: unsigned(bytes),
        dead_letters: letters::count(tx, now)?,
        webhooks_pending: webhooks::pending(tx)?,
    })
}

fn queue(tx: &Tx<'_>, model: String, now: Timestamp) -> Result<QueueOverview, BrokerError> {
    let lane = |lane: Lane| -> Result<u64, BrokerError> {
        let queued: Option<i64> = tx
            .sql
            .prepare_cached("SELECT queued FROM lanes WHERE model = ?1 AND lane = ?2")?
            .query_row(params![model, lane.as_str()], |row| row.get(0))
            .optional()?;
        Ok(unsigned(queued.unwrap_or(0)))
    };
    let [high, normal, low, batch] = Lane::ALL;
    let queued = [lane(high)?, lane(normal)?, lane(low)?, lane(batch)?];
    let capacity = line::capacity(tx, &model, now)?;
    let mut query = tx.sql.prepare_cached(
        "SELECT queued, paused, processing, service_ms, completed, failed, cancelled
         FROM stats WHERE model = ?1",
    )?;
    Ok(query.query_row([&model], |row| {
        let count = |column: usize| row.get(column).map(unsigned);
        Ok(QueueOverview {
            model: ModelId::new(model.as_str()),
            paused: row.get(1)?,
            queued,
            // Queued tasks that are in no lane are delayed.
            delayed: count(0)?.saturating_sub(queued.iter().sum()),
            processing: count(2)?,
            capacity,
            service_ms: row.get(3)?,
            completed: count(4)?,
            failed: count(5)?,
            cancelled: count(6)?,
        })
    })?)
}

/// Returns whether a model is paused.
pub(super) fn is_paused(tx: &Tx<'_>, model: &ModelId) -> Result<bool, BrokerError> {
    let paused: Option<bool> = tx
        .sql
        .prepare_cached("SELECT paused FROM stats WHERE model = ?1")?
        .query_row([model.as_str()], |row| row.get(0))
        .optional()?;
    Ok(paused.unwrap_or(false))
}

/// Pauses or resumes a model.
pub(super) fn set_paused(
    tx: &mut Tx<'_>,
    model: &ModelId,
    paused: bool,
) -> Result<(), BrokerError> {
    if paused {
        tx.sql
            .prepare_cached(
                "INSERT INTO stats (model, paused) VALUES (?1, 1)
                 ON CONFLICT (model) DO UPDATE SET paused = 1",
            )?
            .execute([model.as_str()])?;
    } else {
        tx.sql
            .prepare_cached("UPDATE stats SET paused = 0 WHERE model = ?1")?
            .execute([model.as_str()])?;
        tx.queued(); // claimants that wait look again
    }
    Ok(())
}
