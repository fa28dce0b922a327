//! Ended tasks: their pending log lines and their tombstones.

use std::time::Duration;

use protocol::{TaskId, TenantId, Timestamp};
use rusqlite::{OptionalExtension, params};

use super::column::{Key, key, millis, span_millis, task_id};
use super::read;
use super::store::Tx;
use crate::{BrokerError, LINE_KEPT, TOMBSTONE, Unlogged};

/// Returns the tenant of a task whose outcome has expired.
pub(super) fn expired(
    tx: &Tx<'_>,
    id: TaskId,
    now: Timestamp,
) -> Result<Option<TenantId>, BrokerError> {
    let tenant: Option<String> = tx
        .sql
        .prepare_cached(
            "SELECT tenant FROM tasks
             WHERE id = ?1 AND expires <= ?2 AND expires + max(ttl_ms, ?3) > ?2
             UNION ALL
             SELECT tenant FROM tombstones
             WHERE task = ?1 AND until > ?2 AND NOT EXISTS (SELECT 1 FROM tasks WHERE id = ?1)",
        )?
        .query_row(params![key(id), millis(now), span_millis(TOMBSTONE)], |row| row.get(0))
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
            Ok((row.get::<_, Key>(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<Result<Vec<(_, i64, i64)>, _>>()?;
    let mut ends = Vec::with_capacity(due.len());
    for (id, since, finished) in due {
        let id = task_id(id);
        let ago = u64::try_from(millis(now).saturating_sub(finished)).unwrap_or(0);
        // 0 means that it is due for the first time.
        let perhaps_written = (since != 0).then(|| Duration::from_millis(ago));
        // At the epoch, no outcome has expired yet.
        let until = match read::snapshot(tx, id, Timestamp::from_millis(0)) {
            Ok(end) => {
                ends.extend(end.map(|end| Unlogged { end, perhaps_written }));
                Some(millis(now + span))
            }
            // An unreadable record can't be logged.
            Err(BrokerError::Record(error)) => {
                tracing::warn!(task_id = %id, %error, "cannot write the log line of an ended task");
                None
            }
            Err(other) => return Err(other),
        };
        tx.sql
            .prepare_cached("UPDATE tasks SET unlogged = ?2 WHERE id = ?1")?
            .execute(params![key(id), until])?;
    }
    Ok(ends)
}

/// Acknowledges the log lines of these tasks.
pub(super) fn logged(tx: &Tx<'_>, ids: &[TaskId]) -> Result<(), BrokerError> {
    for id in ids {
        tx.sql
            .prepare_cached("UPDATE tasks SET unlogged = NULL WHERE id = ?1")?
            .execute([key(*id)])?;
    }
    Ok(())
}

/// Deletes up to `most` tasks whose outcomes have expired, and leaves a tombstone of each; returns how many.
/// A task with a pending log line is kept somewhat longer.
pub(super) fn delete_expired(tx: &Tx<'_>, most: u32, now: Timestamp) -> Result<usize, BrokerError> {
    let deleted = tx
        .sql
        .prepare_cached(
            "DELETE FROM tasks WHERE id IN
                 (SELECT id FROM tasks
                  WHERE expires <= ?1 AND (unlogged IS NULL OR expires <= ?1 - ?3)
                  ORDER BY expires LIMIT ?2)
             RETURNING id, tenant, expires + max(ttl_ms, ?4)",
        )?
        .query_map(
            params![millis(now), most, span_millis(LINE_KEPT), span_millis(TOMBSTONE)],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?
        .collect::<Result<Vec<(Key, String, i64)>, _>>()?;
    let mut insert = tx.sql.prepare_cached(
        "INSERT OR REPLACE INTO tombstones (task, tenant, until) VALUES (?1, ?2, ?3)",
    )?;
    for (task, tenant, until) in &deleted {
        if *until > millis(now) {
            insert.execute(params![task, tenant, until])?;
        }
    }
    Ok(deleted.len())
}
