//! Read-only operations: snapshot, events.

use protocol::{Attempt, Event, EventBody, EventSeq, TaskId, TaskSnapshot, Timestamp, record};
use rusqlite::{OptionalExtension, Row, params};

use super::column::{Key, Name, instant, key, millis, unsigned, worker_id};
use super::store::Tx;
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
        .query_row(params![key(id), millis(now)], |row| {
            Ok(StoredSnapshot {
                summary: StoredSummary {
                    id,
                    record: Some(row.get(0)?).filter(|record: &String| !record.is_empty()),
                    tenant: row.get(11)?,
                    model: row.get(12)?,
                    lane: row.get(13)?,
                    notes: row.get(14)?,
                },
                state: row.get::<_, Name<_>>(1)?.0,
                attempt: row.get(2)?,
                worker: row.get::<_, Option<Key>>(3)?.map(worker_id),
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
        "SELECT events.seq, events.at, events.body, tasks.seq, tasks.finished IS NOT NULL,
                tasks.outcome, tasks.attempt, tasks.worker
         FROM events JOIN tasks ON tasks.id = events.task
         WHERE events.task = ?1 AND events.seq > ?2
           AND (tasks.expires IS NULL OR tasks.expires > ?4)
         ORDER BY events.seq LIMIT ?3",
    )?;
    let after = i64::try_from(after.get()).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = query.query(params![key(id), after, limit, millis(now)])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let seq = row.get(0)?;
        let body = match row.get::<_, Option<String>>(2)? {
            Some(body) => record::decode(&body)?,
            None => implied_body(row, seq)?,
        };
        let (seq, at) = (EventSeq::new(unsigned(seq)), instant(row.get(1)?));
        events.push(Event { seq, at, body });
    }
    Ok(events)
}

/// Returns the body of event `seq`, which has none because the task's row implies it (`schema_5.sql`).
fn implied_body(row: &Row<'_>, seq: i64) -> Result<EventBody, BrokerError> {
    let (latest, has_ended): (i64, bool) = (row.get(3)?, row.get(4)?);
    Ok(if seq == 1 {
        EventBody::Queued
    } else if has_ended && seq == latest {
        EventBody::Ended { outcome: record::decode(&row.get::<_, String>(5)?)? }
    } else {
        EventBody::Started { attempt: Attempt::new(row.get(6)?), worker: worker_id(row.get(7)?) }
    })
}
