//! reap: handles expired leases, and deletes expired rows.

use std::time::Duration;

use protocol::{Attempt, ErrorType, Task, TaskError, TaskId, Timestamp};
use rusqlite::{named_params, params};

use super::column::{Key, key, millis, span_millis, task_id, worker_key};
use super::course::{Course, find, holding, keep_started, note};
use super::store::Tx;
use super::task::{self, By};
use super::{ended, line, meters};
use crate::limits::SHORT_LIMIT;
use crate::stored::{Ending, LEASE_EXPIRED, PROCESS_ENDED, requeued_event};
use crate::{BrokerError, Claimant, DEAD_LETTER_TTL, Failure, Lease, Reaped, retry};

/// The maximum number of rows deleted per transaction, so that transactions stay short.
const PURGE: u32 = 500;

/// The result of a reap, before the records of exhausted tasks are parsed.
#[derive(Default)]
pub(super) struct Swept {
    pub(super) reaped: Reaped,
    pub(super) exhausted: Vec<crate::stored::Holding>,
}

/// Reaps. Leases are by the `steady` clock.
pub(super) fn reap(
    tx: &mut Tx<'_>,
    reaper: &Claimant,
    now: Timestamp,
    steady: Timestamp,
) -> Result<Swept, BrokerError> {
    let mut swept = Swept::default();
    for course in run_out(tx, now, steady)? {
        match reclaim(tx, &course, now, LEASE_EXPIRED)? {
            Fate::Requeued => swept.reaped.requeued.push(course.id),
            Fate::Cancelled => swept.reaped.cancelled.push(course.id),
            Fate::Exhausted => {
                let lease = hand_to(tx, &course, reaper, steady + reaper.lease)?;
                swept.exhausted.push(holding(tx, lease)?);
            }
        }
    }
    Ok(swept)
}

/// Queues due tasks, and ends those past their deadline. Does not depend on leases, so it needs no hold.
pub(super) fn keep_time(tx: &mut Tx<'_>, now: Timestamp) -> Result<Vec<TaskId>, BrokerError> {
    line::promote(tx, now, PURGE)?;
    let late = tx
        .sql
        .prepare_cached(
            "SELECT id FROM tasks WHERE state = 'queued' AND deadline <= ?1
             ORDER BY deadline LIMIT ?2",
        )?
        .query_map(params![millis(now), PURGE], |row| row.get::<_, Key>(0))?
        .collect::<Result<Vec<_>, _>>()?;
    let mut expired = Vec::with_capacity(late.len());
    for id in late {
        let Some(course) = find(tx, task_id(id), now)? else { continue };
        task::end(tx, &course, now, &Ending::expired()?, By::Queue)?;
        expired.push(course.id);
    }
    Ok(expired)
}

/// Corrects stored times after the machine's clock went back: shifts or lowers them. Start times that
/// clients set stay unchanged.
pub(super) fn clock_went_back(
    tx: &Tx<'_>,
    behind: Duration,
    now: Timestamp,
) -> Result<(), BrokerError> {
    let latest = millis(now + SHORT_LIMIT);
    for cut in [
        "UPDATE tasks SET run_at = ?1 WHERE spot = 'delayed' AND attempt > 0 AND run_at > ?1",
        "UPDATE tasks SET unlogged = ?1 WHERE unlogged > ?1",
        "UPDATE workers SET expires = ?1 WHERE expires > ?1",
    ] {
        tx.sql.execute(cut, [latest])?;
    }
    meters::clock_went_back(tx, now)?;
    tx.sql.execute(
        "UPDATE webhooks SET due = max(?1, due - ?2) WHERE state = 'pending' AND due > ?1",
        params![millis(now), span_millis(behind)],
    )?;
    Ok(())
}

/// Recovers after a start, when all leases are those of a process that is gone. Requeues their tasks; a
/// task without attempts left waits for the first reap, which follows at once since its lease has
/// expired. Pending log lines are due, however long the process was gone.
pub(super) fn recover(tx: &mut Tx<'_>, now: Timestamp) -> Result<(), BrokerError> {
    meters::clock_went_back(tx, now)?; // it may have, meanwhile
    tx.sql.execute("UPDATE tasks SET lease_until = 0 WHERE state = 'processing'", [])?;
    tx.sql.execute(
        "UPDATE tasks SET unlogged = min(unlogged, 1), expires = max(expires, ?1)
         WHERE unlogged IS NOT NULL",
        [millis(now)],
    )?;
    for course in run_out(tx, now, now)? {
        if course.cancel || !is_last(&course) {
            reclaim(tx, &course, now, PROCESS_ENDED)?;
        }
    }
    Ok(())
}

enum Fate {
    Requeued,
    Cancelled,
    Exhausted,
}

fn reclaim(
    tx: &mut Tx<'_>,
    course: &Course,
    now: Timestamp,
    reason: &str,
) -> Result<Fate, BrokerError> {
    if course.cancel {
        task::end(tx, course, now, &Ending::cancelled()?, By::Queue)?;
        return Ok(Fate::Cancelled);
    }
    if course.reaping {
        return Ok(Fate::Exhausted); // a reaper died: that was no attempt
    }
    let attempt = Attempt::new(course.attempt);
    let error = TaskError::new(ErrorType::WorkerLost, reason);
    let failure = Failure { attempt, worker: course.holder()?, at: now, error };
    note(tx, course.id, &failure)?;
    tx.sql
        .prepare_cached("UPDATE tasks SET failed = failed + 1, lost = lost + 1 WHERE id = ?1")?
        .execute([key(course.id)])?;
    if is_last(course) {
        return Ok(Fate::Exhausted);
    }
    let event = requeued_event(attempt, reason)?;
    task::requeue(tx, course, now, after_loss(tx, course)?, &event)?;
    Ok(Fate::Requeued)
}

/// Returns the backoff after a lost lease. Only a task that lost several workers in a row has one, so it is read from
/// the record.
fn after_loss(tx: &Tx<'_>, course: &Course) -> Result<Duration, BrokerError> {
    if course.lost == 0 {
        return Ok(Duration::ZERO);
    }
    let own: Option<u32> = tx
        .sql
        .prepare_cached(
            "SELECT CASE WHEN json_valid(record) THEN json_extract(record, '$.retry_backoff_s') END
             FROM tasks WHERE id = ?1",
        )?
        .query_row([key(course.id)], |row| row.get(0))?;
    let first = own.unwrap_or(Task::DEFAULT_RETRY_BACKOFF_S);
    Ok(retry::after_loss(Duration::from_secs(first.into()), course.lost + 1))
}

/// Returns whether no attempt follows the one that failed now.
fn is_last(course: &Course) -> bool {
    course.reaping || course.failed + 1 >= course.max_attempts
}

/// Assigns the lease to the reaper. `started` stays the time of the last real attempt.
fn hand_to(
    tx: &Tx<'_>,
    course: &Course,
    reaper: &Claimant,
    until: Timestamp,
) -> Result<Lease, BrokerError> {
    let lease = Lease { task_id: course.id, worker: reaper.worker, attempt: course.next_attempt() };
    keep_started(tx, course)?;
    tx.sql
        .prepare_cached(
            "UPDATE tasks SET attempt = :attempt, worker = :worker,
                    lease_until = :until, published = 0, reaping = 1
             WHERE id = :id",
        )?
        .execute(named_params! {
            ":id": key(course.id),
            ":attempt": lease.attempt.get(),
            ":worker": worker_key(lease.worker),
            ":until": millis(until),
        })?;
    Ok(lease)
}

fn run_out(tx: &Tx<'_>, now: Timestamp, steady: Timestamp) -> Result<Vec<Course>, BrokerError> {
    let mut query = tx.sql.prepare_cached(
        "SELECT id FROM tasks WHERE state = 'processing' AND lease_until <= ?1 ORDER BY lease_until",
    )?;
    let ids = query
        .query_map([millis(steady)], |row| row.get::<_, Key>(0))?
        .collect::<Result<Vec<_>, _>>()?;
    let mut courses = Vec::with_capacity(ids.len());
    for id in ids {
        courses.extend(find(tx, task_id(id), now)?);
    }
    Ok(courses)
}

/// Deletes expired rows; returns whether there may be more.
pub(super) fn purge(tx: &Tx<'_>, now: Timestamp) -> Result<bool, BrokerError> {
    let most = PURGE as usize;
    let tasks = ended::delete_expired(tx, PURGE, now)?;
    let tombstones = tx
        .sql
        .prepare_cached(
            "DELETE FROM tombstones WHERE task IN
                 (SELECT task FROM tombstones WHERE until <= ?1 ORDER BY until LIMIT ?2)",
        )?
        .execute(params![millis(now), PURGE])?;
    let webhooks = tx
        .sql
        .prepare_cached(
            "DELETE FROM webhooks WHERE task IN
                 (SELECT task FROM webhooks WHERE expires <= ?1 ORDER BY expires LIMIT ?2)",
        )?
        .execute(params![millis(now), PURGE])?;
    tx.sql
        .prepare_cached("DELETE FROM letters WHERE died <= ?1")?
        .execute([millis(now).saturating_sub(span_millis(DEAD_LETTER_TTL))])?;
    tx.sql.prepare_cached("DELETE FROM workers WHERE expires <= ?1")?.execute([millis(now)])?;
    meters::purge(tx, now)?;
    Ok(tasks == most || tombstones == most || webhooks == most)
}
