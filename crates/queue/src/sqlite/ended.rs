//! Ended tasks: their pending log lines and their tombstones.

use std::time::Duration;

use protocol::{TaskId, TenantId, Timestamp};
use rusqlite::{OptionalExtension, params};

use super::read;
use super::store::Tx;
use super::task::{millis, task_id};
use crate::{BrokerError, Unlogged};

/// Returns the tenant of a task whose outcome has expired.
pub(super) fn expired(
    tx: &Tx<'_>,
    id: TaskId,
    now: Timestamp,
) -> Result<Option<TenantId>, BrokerError> {
    let tenant: Option<String> = tx
        .sql
        .prepare_cached(
            "SELECT tenant FROM tombstones WHERE task = ?1 AND since <= ?2 AND until > ?2
               AND NOT EXISTS (SELECT 1 FROM tasks
                               WHERE id = ?1 AND (expires IS NULL OR expires > ?2))",
        )?
        .query_row(params![id.to_string(), millis(now)], |row| row.get(0))
        .optional()?;
    Ok(tenant.map(TenantId::new))
}

/// Assigns tasks whose log lines are due to the caller for `span`, even if their outcomes have expired.
pub(super) fn unlogged(
    tx: &Tx<'_>,
    span: Duration,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<Unlogged>, BrokerError> {
    let due = tx
        .sql
        .prepare_cached(
            "SELECT id, unlogged, finished FROM tasks WHERE unlogged <= ?1
             ORDER BY unlogged LIMIT ?2",
        )?
        .query_map(params![millis(now), i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<Result<Vec<(_, i64, i64)>, _>>()?;
    let mut ends = Vec::with_capacity(due.len());
    for (id, since, finished) in due {
        let ago = u64::try_from(millis(now).saturating_sub(finished)).unwrap_or(0);
        // 0 means that it is due for the first time.
        let perhaps_written = (since != 0).then(|| Duration::from_millis(ago));
        // At the epoch, no outcome has expired yet.
        let until = match read::snapshot(tx, task_id(&id)?, Timestamp::from_millis(0)) {
            Ok(end) => {
                ends.extend(end.map(|end| Unlogged { end, perhaps_written }));
                Some(millis(now + span))
            }
            // An unreadable record can't be logged.
            Err(BrokerError::Record(error)) => {
                tracing::warn!(task_id = id, %error, "ended unlogged");
                None
            }
            Err(other) => return Err(other),
        };
        tx.sql
            .prepare_cached("UPDATE tasks SET unlogged = ?2 WHERE id = ?1")?
            .execute(params![id, until])?;
    }
    Ok(ends)
}

/// Acknowledges the log lines of these tasks.
pub(super) fn logged(tx: &Tx<'_>, ids: &[TaskId]) -> Result<(), BrokerError> {
    for id in ids {
        tx.sql
            .prepare_cached("UPDATE tasks SET unlogged = NULL WHERE id = ?1")?
            .execute([id.to_string()])?;
    }
    Ok(())
}
