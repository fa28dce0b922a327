//! One task's row: reading it, and the small changes that several operations share.

use protocol::{Attempt, TaskId, TaskState, Timestamp, WorkerId, record};
use rusqlite::{OptionalExtension, Row, params};

use super::column::{Key, Name, Spot, instant, key, millis, worker_id};
use super::store::Tx;
use crate::limits::{MAX_EVENTS, MAX_FAILURES};
use crate::stored::{Holding, started_event};
use crate::{BrokerError, Failure, Lease};

/// A task's state; its record stays in the file until it is needed.
pub(super) struct Course {
    pub(super) id: TaskId,
    pub(super) model: String,
    pub(super) lane: String,
    pub(super) tenant: String,
    pub(super) size: i64,
    /// Where it waits, if it is queued.
    pub(super) spot: Option<Spot>,
    pub(super) ticket: i64,
    pub(super) run_at: Option<i64>,
    pub(super) state: TaskState,
    pub(super) attempt: u32,
    /// The holder of the latest delivery.
    pub(super) worker: Option<WorkerId>,
    pub(super) published: i64,
    pub(super) failed: u32,
    pub(super) lost: u32,
    pub(super) reaping: bool,
    pub(super) max_attempts: u32,
    /// `true` if the holder of the latest delivery recorded the outcome.
    pub(super) by_holder: bool,
    pub(super) released: String,
    pub(super) cancel: bool,
    pub(super) started: Option<i64>,
    pub(super) finished: Option<i64>,
}

impl Course {
    /// Returns whether `lease` is the task's current one.
    pub(super) fn is_held_under(&self, lease: &Lease) -> bool {
        self.state == TaskState::Processing && self.was_delivered_under(lease)
    }

    /// Returns when the outcome was recorded under `lease`, or `None` if it was not.
    pub(super) fn finished_under(&self, lease: &Lease) -> Option<i64> {
        self.finished.filter(|_| self.by_holder && self.was_delivered_under(lease))
    }

    fn was_delivered_under(&self, lease: &Lease) -> bool {
        self.worker == Some(lease.worker) && self.attempt == lease.attempt.get()
    }

    /// Returns the holder of the latest delivery.
    pub(super) fn holder(&self) -> Result<WorkerId, BrokerError> {
        self.worker.ok_or_else(|| BrokerError::Corrupt(format!("task {} is not leased", self.id)))
    }

    /// Returns the number of the next attempt.
    pub(super) fn next_attempt(&self) -> Attempt {
        Attempt::new(self.attempt + 1)
    }
}

/// Finds a task by its id; `None` if it does not exist or its outcome has expired.
pub(super) fn find(tx: &Tx<'_>, id: TaskId, now: Timestamp) -> Result<Option<Course>, BrokerError> {
    let mut query = tx.sql.prepare_cached(
        "SELECT model, state, attempt, failed, max_attempts, by_holder, released, cancel,
                started, finished, lane, tenant, size, spot, ticket, run_at,
                worker, published, lost, reaping
         FROM tasks WHERE id = ?1 AND (expires IS NULL OR expires > ?2)",
    )?;
    let course = |row: &Row<'_>| {
        Ok(Course {
            id,
            model: row.get(0)?,
            state: row.get::<_, Name<_>>(1)?.0,
            attempt: row.get(2)?,
            failed: row.get(3)?,
            max_attempts: row.get(4)?,
            by_holder: row.get(5)?,
            released: row.get(6)?,
            cancel: row.get(7)?,
            started: row.get(8)?,
            finished: row.get(9)?,
            lane: row.get(10)?,
            tenant: row.get(11)?,
            size: row.get(12)?,
            spot: row.get::<_, Option<Name<_>>>(13)?.map(|spot| spot.0),
            ticket: row.get(14)?,
            run_at: row.get(15)?,
            worker: row.get::<_, Option<Key>>(16)?.map(worker_id),
            published: row.get(17)?,
            lost: row.get(18)?,
            reaping: row.get(19)?,
        })
    };
    Ok(query.query_row(params![key(id), millis(now)], course).optional()?)
}

/// Adds an event under the next number, drops the oldest beyond the bound, and notifies watchers. The
/// body is `None` if the task's row implies it (see `schema_5.sql`).
pub(super) fn emit(
    tx: &mut Tx<'_>,
    id: TaskId,
    now: Timestamp,
    body: Option<&str>,
) -> Result<(), BrokerError> {
    let seq: i64 = tx
        .sql
        .prepare_cached("UPDATE tasks SET seq = seq + 1 WHERE id = ?1 RETURNING seq")?
        .query_row([key(id)], |row| row.get(0))?;
    tx.sql
        .prepare_cached("INSERT INTO events (task, seq, at, body) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![key(id), seq, millis(now), body])?;
    tx.sql
        .prepare_cached("DELETE FROM events WHERE task = ?1 AND seq <= ?2")?
        .execute(params![key(id), seq - MAX_EVENTS as i64])?;
    tx.changed(id);
    Ok(())
}

/// Writes out the `started` event of the current attempt, which the row implies until another attempt
/// follows.
pub(super) fn keep_started(tx: &Tx<'_>, course: &Course) -> Result<(), BrokerError> {
    let body = started_event(Attempt::new(course.attempt), course.holder()?)?;
    tx.sql
        .prepare_cached("UPDATE events SET body = ?2 WHERE task = ?1 AND seq > 1 AND body IS NULL")?
        .execute(params![key(course.id), body])?;
    Ok(())
}

/// Moves one task of a model between counters; either may be 0.
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
        .execute(params![key(id), record::encode(failure)?, MAX_FAILURES])?;
    Ok(())
}

/// Returns a task that `lease` holds, with its record.
pub(super) fn holding(tx: &Tx<'_>, lease: Lease) -> Result<Holding, BrokerError> {
    let mut query = tx
        .sql
        .prepare_cached("SELECT record, submitted, started, failed FROM tasks WHERE id = ?1")?;
    Ok(query.query_row([key(lease.task_id)], |row| {
        Ok(Holding {
            record: row.get(0)?,
            lease,
            submitted_at: instant(row.get(1)?),
            started_at: instant(row.get::<_, Option<i64>>(2)?.unwrap_or(0)),
            failed_attempts: row.get(3)?,
        })
    })?)
}
