//! The steps shared by operations: reading a task, adding an event, ending, requeueing.
//! `redis/scripts/lib/` does the same for Redis.

use std::time::Duration;

use protocol::{Attempt, TaskId, Timestamp, WorkerId, record};
use rusqlite::{OptionalExtension, Row, named_params, params};

use super::store::Tx;
use super::{line, webhooks};
use crate::stored::{Ending, Holding, MAX_EVENTS, MAX_FAILURES};
use crate::{BrokerError, Failure, LINE_SPAN, Lease, TOMBSTONE};

/// A task's state; its record stays in the file until it is needed.
pub(super) struct Course {
    pub(super) id: TaskId,
    pub(super) model: String,
    pub(super) lane: String,
    pub(super) tenant: String,
    pub(super) size: i64,
    pub(super) spot: String,
    pub(super) ticket: i64,
    pub(super) run_at: Option<i64>,
    pub(super) state: String,
    pub(super) attempt: u32,
    pub(super) worker: Option<String>,
    pub(super) told: i64,
    pub(super) failed: u32,
    pub(super) lost: u32,
    pub(super) reaping: bool,
    pub(super) max_attempts: u32,
    pub(super) fence: String,
    pub(super) returned: String,
    pub(super) cancel: bool,
    pub(super) started: Option<i64>,
    pub(super) finished: Option<i64>,
}

impl Course {
    /// Returns whether `lease` is the task's current one.
    pub(super) fn is_held_under(&self, lease: &Lease) -> bool {
        self.state == "processing" && self.fence == lease.fence()
    }

    /// Returns the holder of the latest delivery.
    pub(super) fn holder(&self) -> Result<WorkerId, BrokerError> {
        let worker = self.worker.as_deref().unwrap_or_default();
        worker.parse().map_err(|_| BrokerError::Corrupt(format!("'{worker}' is no worker's id")))
    }
}

/// Converts a time to SQLite's stored form.
pub(super) fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

/// Converts a span to SQLite's stored form.
pub(super) fn span_millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Converts a stored time.
pub(super) fn instant(millis: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// Parses a stored task id.
pub(super) fn task_id(text: &str) -> Result<TaskId, BrokerError> {
    text.parse().map_err(|_| BrokerError::Corrupt(format!("'{text}' is no task id")))
}

/// Finds a task by its id; `None` if it does not exist or its outcome has expired.
pub(super) fn find(tx: &Tx<'_>, id: TaskId, now: Timestamp) -> Result<Option<Course>, BrokerError> {
    let mut query = tx.sql.prepare_cached(
        "SELECT model, state, attempt, failed, max_attempts, fence, returned, cancel,
                started, finished, lane, tenant, size, spot, ticket, run_at,
                worker, told, lost, reaping
         FROM tasks WHERE id = ?1 AND (expires IS NULL OR expires > ?2)",
    )?;
    let course = |row: &Row<'_>| {
        Ok(Course {
            id,
            model: row.get(0)?,
            state: row.get(1)?,
            attempt: row.get(2)?,
            failed: row.get(3)?,
            max_attempts: row.get(4)?,
            fence: row.get(5)?,
            returned: row.get(6)?,
            cancel: row.get(7)?,
            started: row.get(8)?,
            finished: row.get(9)?,
            lane: row.get(10)?,
            tenant: row.get(11)?,
            size: row.get(12)?,
            spot: row.get(13)?,
            ticket: row.get(14)?,
            run_at: row.get(15)?,
            worker: row.get(16)?,
            told: row.get(17)?,
            lost: row.get(18)?,
            reaping: row.get(19)?,
        })
    };
    Ok(query.query_row(params![id.to_string(), millis(now)], course).optional()?)
}

/// Adds an event under the next number, drops the oldest beyond the bound, and notifies watchers.
pub(super) fn emit(
    tx: &mut Tx<'_>,
    id: TaskId,
    now: Timestamp,
    body: &str,
) -> Result<(), BrokerError> {
    let text = id.to_string();
    let seq: i64 = tx
        .sql
        .prepare_cached("UPDATE tasks SET seq = seq + 1 WHERE id = ?1 RETURNING seq")?
        .query_row([&text], |row| row.get(0))?;
    tx.sql
        .prepare_cached("INSERT INTO events (task, seq, at, body) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![text, seq, millis(now), body])?;
    tx.sql
        .prepare_cached("DELETE FROM events WHERE task = ?1 AND seq <= ?2")?
        .execute(params![text, seq - MAX_EVENTS as i64])?;
    tx.changed(id);
    Ok(())
}

/// Moves one task of a model between counters; either may be `None`.
pub(super) fn count(
    tx: &Tx<'_>,
    model: &str,
    queued: i64,
    processing: i64,
) -> Result<(), BrokerError> {
    tx.sql
        .prepare_cached(
            "INSERT INTO stats (model, queued, processing) VALUES (?1, ?2, ?3)
             ON CONFLICT (model) DO UPDATE
             SET queued = queued + ?2, processing = processing + ?3",
        )?
        .execute(params![model, queued, processing])?;
    Ok(())
}

/// Returns the next place at the end of the queues.
pub(super) fn next_place(tx: &Tx<'_>) -> Result<i64, BrokerError> {
    Ok(tx
        .sql
        .prepare_cached("UPDATE places SET latest = latest + 1 RETURNING latest")?
        .query_row([], |row| row.get(0))?)
}

/// The stored body of an `ended` event: empty, since it is the task's outcome, which is stored once.
pub(super) const ENDED: &str = "";

/// The cause of a task's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The holder of its lease finished it. It may repeat the call, so its fence stays.
    Finisher,
    /// The holder of its lease released it after cancellation was requested.
    Releaser,
    /// The queue itself: any process may log it at once.
    Queue,
}

/// Ends a task: deletes the lease and the prompt, writes outcome and event, starts the TTL, and makes its
/// log line pending and its webhook due.
pub(super) fn end(
    tx: &mut Tx<'_>,
    course: &Course,
    now: Timestamp,
    ending: &Ending,
    by: By,
) -> Result<(), BrokerError> {
    tx.sql
        .prepare_cached(
            "UPDATE tasks SET state = :state, outcome = :outcome, finished = :now, record = '',
                    failures = '[]', expires = :now + ttl_ms, lease_until = NULL,
                    fence = CASE WHEN :finisher THEN fence ELSE '' END, unlogged = :unlogged
             WHERE id = :id",
        )?
        .execute(named_params! {
            ":id": course.id.to_string(),
            ":state": ending.state,
            ":outcome": ending.outcome,
            ":now": millis(now),
            ":finisher": by == By::Finisher,
            ":unlogged": if by == By::Queue { 0 } else { millis(now + LINE_SPAN) },
        })?;
    tx.sql
        .prepare_cached(
            "INSERT OR REPLACE INTO tombstones (task, tenant, since, until)
             SELECT id, tenant, expires, expires + max(ttl_ms, ?2) FROM tasks WHERE id = ?1",
        )?
        .execute(params![course.id.to_string(), span_millis(TOMBSTONE)])?;
    webhooks::fall_due(tx, course, now, ending)?;
    if course.state == "queued" {
        line::leave(tx, course)?;
        line::count_queued(tx, course, -1)?;
    }
    let (queued, processing) = if course.state == "queued" { (-1, 0) } else { (0, -1) };
    tx.sql
        .prepare_cached(
            "UPDATE stats SET queued = queued + ?2, processing = processing + ?3,
                    completed = completed + (?4 = 'completed'), failed = failed + (?4 = 'failed'),
                    cancelled = cancelled + (?4 = 'cancelled')
             WHERE model = ?1",
        )?
        .execute(params![course.model, queued, processing, ending.state])?;
    emit(tx, course.id, now, ENDED)
}

/// Records an attempt's failure; drops the oldest beyond the limit.
pub(super) fn note(tx: &Tx<'_>, id: TaskId, failure: &Failure) -> Result<(), BrokerError> {
    tx.sql
        .prepare_cached(
            "UPDATE tasks SET failures = json_insert(
                 CASE WHEN json_array_length(failures) >= ?3
                      THEN json_remove(failures, '$[0]') ELSE failures END,
                 '$[#]', json(?2))
             WHERE id = ?1",
        )?
        .execute(params![id.to_string(), record::encode(failure)?, MAX_FAILURES])?;
    Ok(())
}

/// Requeues a processing task at the end of its queue, after a backoff if there is one.
pub(super) fn requeue(
    tx: &mut Tx<'_>,
    course: &Course,
    now: Timestamp,
    rest: Duration,
    event: &str,
) -> Result<(), BrokerError> {
    tx.sql
        .prepare_cached(
            "UPDATE tasks SET state = 'queued', fence = '', started = NULL, lease_until = NULL
             WHERE id = ?1",
        )?
        .execute([course.id.to_string()])?;
    count(tx, &course.model, 1, -1)?;
    line::count_queued(tx, course, 1)?;
    if rest.is_zero() {
        line::join(tx, course, true)?;
    } else {
        line::wait(tx, course, now + rest)?;
    }
    emit(tx, course.id, now, event)
}

/// Returns a task that `lease` holds, with its record.
pub(super) fn holding(tx: &Tx<'_>, lease: Lease) -> Result<Holding, BrokerError> {
    let mut query = tx
        .sql
        .prepare_cached("SELECT record, submitted, started, failed FROM tasks WHERE id = ?1")?;
    Ok(query.query_row([lease.task_id.to_string()], |row| {
        Ok(Holding {
            record: row.get(0)?,
            lease,
            submitted_at: instant(row.get(1)?),
            started_at: instant(row.get::<_, Option<i64>>(2)?.unwrap_or(0)),
            failed_attempts: row.get(3)?,
        })
    })?)
}

/// Returns the number of the next attempt.
pub(super) fn next_attempt(course: &Course) -> Attempt {
    Attempt::new(course.attempt + 1)
}
