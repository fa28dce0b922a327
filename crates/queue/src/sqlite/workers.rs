//! The registry of workers: reports, and operators' orders.

use protocol::{Timestamp, WorkerId, WorkerReport};
use rusqlite::{named_params, params};

use super::column::{millis, worker_key};
use super::store::Tx;
use crate::{BrokerError, WorkerOrders, stored};

/// Stores a report until `expires`. An order is kept as long as the worker's report.
pub(super) fn report(
    tx: &Tx<'_>,
    id: WorkerId,
    report: &str,
    expires: Timestamp,
    now: Timestamp,
) -> Result<WorkerOrders, BrokerError> {
    let mut store = tx.sql.prepare_cached(
        "INSERT INTO workers (id, report, expires) VALUES (:id, :report, :expires)
         ON CONFLICT (id) DO UPDATE
         SET report = :report, expires = :expires, drain = drain AND expires > :now
         RETURNING drain",
    )?;
    let drain = store.query_row(
        named_params! {
            ":id": worker_key(id),
            ":report": report,
            ":expires": millis(expires),
            ":now": millis(now),
        },
        |row| row.get(0),
    )?;
    Ok(WorkerOrders { drain })
}

/// Orders a worker to drain; returns whether the worker exists.
pub(super) fn drain(tx: &Tx<'_>, id: WorkerId, now: Timestamp) -> Result<bool, BrokerError> {
    let asked = tx
        .sql
        .prepare_cached("UPDATE workers SET drain = 1 WHERE id = ?1 AND expires > ?2")?
        .execute(params![worker_key(id), millis(now)])?;
    Ok(asked > 0)
}

/// Deletes a worker's report.
pub(super) fn forget(tx: &Tx<'_>, id: WorkerId) -> Result<(), BrokerError> {
    tx.sql.prepare_cached("DELETE FROM workers WHERE id = ?1")?.execute([worker_key(id)])?;
    Ok(())
}

/// Returns the unexpired reports of workers.
pub(super) fn list(tx: &Tx<'_>, now: Timestamp) -> Result<Vec<WorkerReport>, BrokerError> {
    let mut query = tx.sql.prepare_cached("SELECT report FROM workers WHERE expires > ?1")?;
    let texts = query.query_map([millis(now)], |row| Ok((row.get(0)?, None)))?;
    Ok(stored::reports(texts.collect::<Result<_, _>>()?))
}
