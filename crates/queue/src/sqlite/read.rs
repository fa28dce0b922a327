//! Read-only operations: snapshot, events.

use protocol::{Event, EventBody, EventSeq, TaskId, TaskSnapshot, Timestamp, record};
use rusqlite::{OptionalExtension, params};

use super::store::Tx;
use super::task::{instant, millis};
use crate::BrokerError;
use crate::stored::{StoredSnapshot, StoredSummary};

pub(super) fn snapshot(
    tx: &Tx<'_>,
    id: TaskId,
    now: Timestamp,
) -> Result<Option<TaskSnapshot>, BrokerError> {
    let mut query = tx.sql.prepare_cached(
        "SELECT record, state, attempt, worker, cancel, submitted, started, finished, outcome,
                run_at, deadline, tenant, model, lane, notes
         FROM tasks WHERE id = ?1 AND (expires IS NULL OR expires > ?2)",
    )?;
    let unsigned = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    let stored = query
        .query_row(params![id.to_string(), millis(now)], |row| {
            Ok(StoredSnapshot {
                summary: StoredSummary {
                    id,
                    record: Some(row.get(0)?).filter(|record: &String| !record.is_empty()),
                    tenant: row.get(11)?,
                    model: row.get(12)?,
                    lane: row.get(13)?,
                    notes: row.get(14)?,
                },
                state: row.get(1)?,
                attempt: row.get(2)?,
                worker: row.get(3)?,
                cancel: row.get(4)?,
                submitted: unsigned(row.get(5)?).unwrap_or(0),
                started: unsigned(row.get(6)?),
                finished: unsigned(row.get(7)?),
                outcome: row.get(8)?,
                run_at: unsigned(row.get(9)?),
                expires_at: unsigned(row.get(10)?),
            })
        })
        .optional()?;
    stored.map(StoredSnapshot::read).transpose()
}

pub(super) fn events(
    tx: &Tx<'_>,
    id: TaskId,
    after: EventSeq,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<Event>, BrokerError> {
    let mut query = tx.sql.prepare_cached(
        "SELECT events.seq, events.at, events.body,
                CASE WHEN events.body = '' THEN tasks.outcome END
         FROM events JOIN tasks ON tasks.id = events.task
         WHERE events.task = ?1 AND events.seq > ?2
           AND (tasks.expires IS NULL OR tasks.expires > ?4)
         ORDER BY events.seq LIMIT ?3",
    )?;
    let after = i64::try_from(after.get()).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = query.query(params![id.to_string(), after, limit, millis(now)])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let body = match row.get::<_, Option<String>>(3)? {
            Some(outcome) => EventBody::Ended { outcome: record::decode(&outcome)? },
            None => record::decode(&row.get::<_, String>(2)?)?,
        };
        events.push(Event {
            seq: EventSeq::new(u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0)),
            at: instant(row.get(1)?),
            body,
        });
    }
    Ok(events)
}
