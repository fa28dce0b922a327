//! The states of periodic tasks, in the table `periodic`.

use async_trait::async_trait;
use protocol::{TaskId, TenantId, Timestamp, record};
use rusqlite::{OptionalExtension, params};

use super::SqliteBroker;
use super::column::{Key, key, task_id, unsigned};
use super::store::Tx;
use crate::{BrokerError, PeriodicId, PeriodicStep, PeriodicTasks, StoredPeriodic};

#[async_trait]
impl PeriodicTasks for SqliteBroker {
    async fn periodic_tasks(&self) -> Result<(Timestamp, Vec<StoredPeriodic>), BrokerError> {
        self.inner.store.run(|tx| Ok((Timestamp::now(), list(tx)?))).await
    }

    async fn step_periodic(&self, step: &PeriodicStep) -> Result<bool, BrokerError> {
        let step = step.clone();
        self.inner.store.run(move |tx| take(tx, &step, None)).await
    }

    async fn forget_periodic(&self, id: &PeriodicId) -> Result<(), BrokerError> {
        let id = id.clone();
        let work = move |tx: &mut Tx<'_>| {
            tx.sql
                .prepare_cached("DELETE FROM periodic WHERE name = ?1 AND owner = ?2")?
                .execute(params![id.name, id.owner.as_str()])?;
            Ok(())
        };
        self.inner.store.run(work).await
    }
}

fn list(tx: &Tx<'_>) -> Result<Vec<StoredPeriodic>, BrokerError> {
    let mut query = tx.sql.prepare_cached(
        "SELECT owner, name, revision, task, record FROM periodic ORDER BY owner, name",
    )?;
    let rows = query.query_map([], |row| {
        let (owner, name): (String, String) = (row.get(0)?, row.get(1)?);
        let (revision, task): (i64, Option<Key>) = (row.get(2)?, row.get(3)?);
        Ok((owner, name, revision, task, row.get::<_, String>(4)?))
    })?;
    rows.map(|row| {
        let (owner, name, revision, task, text) = row?;
        Ok(StoredPeriodic {
            id: PeriodicId { owner: TenantId::new(owner), name },
            revision: unsigned(revision),
            task_id: task.map(task_id),
            state: record::decode(&text)?,
        })
    })
    .collect()
}

/// Takes a step if the stored revision is the step's, and returns whether it did. Without a task, the task of the
/// latest run is kept.
pub(super) fn take(
    tx: &Tx<'_>,
    step: &PeriodicStep,
    task: Option<TaskId>,
) -> Result<bool, BrokerError> {
    let PeriodicStep { id, revision, state } = step;
    let stored: Option<i64> = tx
        .sql
        .prepare_cached("SELECT revision FROM periodic WHERE name = ?1 AND owner = ?2")?
        .query_row(params![id.name, id.owner.as_str()], |row| row.get(0))
        .optional()?;
    if stored.map_or(0, unsigned) != *revision {
        return Ok(false);
    }
    tx.sql
        .prepare_cached(
            "INSERT INTO periodic (owner, name, revision, task, record) VALUES (?1, ?2, 1, ?3, ?4)
             ON CONFLICT DO UPDATE SET revision = revision + 1, task = coalesce(?3, task), record = ?4",
        )?
        .execute(params![id.owner.as_str(), id.name, task.map(key), record::encode(state)?])?;
    Ok(true)
}
