//! reap: deals with leases that have run out; and clears away what has expired.

use protocol::{TaskId, Timestamp, WorkerId};
use rusqlite::{named_params, params};

use super::line;
use super::store::Tx;
use super::task::{self, Course, find, holding, millis, next_attempt, task_id};
use crate::stored::{Ending, LEASE_RAN_OUT, requeued_event};
use crate::{BrokerError, Claimant, Lease, Reaped};

/// Most outcomes that one reap clears away, so that nobody waits for it.
const PURGE: u32 = 500;

/// What a reap came to, before the exhausted tasks' records were read.
#[derive(Default)]
pub(super) struct Swept {
    pub(super) reaped: Reaped,
    pub(super) exhausted: Vec<crate::stored::Holding>,
}

pub(super) fn reap(
    tx: &mut Tx<'_>,
    reaper: &Claimant,
    now: Timestamp,
) -> Result<Swept, BrokerError> {
    let mut swept = Swept::default();
    for course in run_out(tx, now)? {
        match reclaim(tx, &course, now, LEASE_RAN_OUT)? {
            Fate::Requeued => swept.reaped.requeued.push(course.id),
            Fate::Cancelled => swept.reaped.cancelled.push(course.id),
            Fate::Exhausted => {
                let lease = hand_to(tx, &course, reaper, now)?;
                swept.exhausted.push(holding(tx, lease)?);
            }
        }
    }
    Ok(swept)
}

/// Lets due tasks into the queue, and ends those past their deadline. No lease is looked at, so there
/// is nothing to hold back for.
pub(super) fn keep_time(tx: &mut Tx<'_>, now: Timestamp) -> Result<Vec<TaskId>, BrokerError> {
    line::promote(tx, now, PURGE)?;
    let late = tx
        .sql
        .prepare_cached(
            "SELECT id FROM tasks WHERE state = 'queued' AND deadline <= ?1
             ORDER BY deadline LIMIT ?2",
        )?
        .query_map(params![millis(now), PURGE], |row| row.get::<_, String>(0))?
        .collect::<Result<Vec<_>, _>>()?;
    let mut expired = Vec::with_capacity(late.len());
    for id in late {
        let Some(course) = find(tx, task_id(&id)?, now)? else { continue };
        task::end(tx, &course, now, &Ending::expired()?, false)?;
        expired.push(course.id);
    }
    Ok(expired)
}

/// After a start: the leases are those of a process that is gone. Their tasks are queued again; one
/// with its attempts used up waits for the first reap, which follows at once as its lease is over.
pub(super) fn recover(tx: &mut Tx<'_>, now: Timestamp) -> Result<(), BrokerError> {
    tx.sql.execute("UPDATE tasks SET lease_until = 0 WHERE state = 'processing'", [])?;
    for course in run_out(tx, now)? {
        if course.cancel || course.failed + 1 < course.max_attempts {
            reclaim(tx, &course, now, "the process that ran it has ended")?;
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
        task::end(tx, course, now, &Ending::cancelled()?, false)?;
        return Ok(Fate::Cancelled);
    }
    tx.sql
        .prepare_cached("UPDATE tasks SET failed = failed + 1 WHERE id = ?1")?
        .execute([course.id.to_string()])?;
    if course.failed + 1 >= course.max_attempts {
        return Ok(Fate::Exhausted);
    }
    let event = requeued_event(protocol::Attempt::new(course.attempt), reason)?;
    task::requeue(tx, course, now, &event)?;
    Ok(Fate::Requeued)
}

/// Gives the lease to the reaper. `started` stays: the time of the last real attempt.
fn hand_to(
    tx: &Tx<'_>,
    course: &Course,
    reaper: &Claimant,
    now: Timestamp,
) -> Result<Lease, BrokerError> {
    let lease = Lease { task_id: course.id, worker: reaper.worker, attempt: next_attempt(course) };
    tx.sql
        .prepare_cached(
            "UPDATE tasks SET attempt = :attempt, worker = :worker, fence = :fence,
                    lease_until = :until
             WHERE id = :id",
        )?
        .execute(named_params! {
            ":id": course.id.to_string(),
            ":attempt": lease.attempt.get(),
            ":worker": lease.worker.to_string(),
            ":fence": lease.fence(),
            ":until": millis(now + reaper.lease),
        })?;
    Ok(lease)
}

fn run_out(tx: &Tx<'_>, now: Timestamp) -> Result<Vec<Course>, BrokerError> {
    let mut query = tx.sql.prepare_cached(
        "SELECT id FROM tasks WHERE state = 'processing' AND lease_until <= ?1 ORDER BY lease_until",
    )?;
    let ids = query
        .query_map([millis(now)], |row| row.get::<_, String>(0))?
        .collect::<Result<Vec<_>, _>>()?;
    let mut courses = Vec::with_capacity(ids.len());
    for id in ids {
        courses.extend(find(tx, task_id(&id)?, now)?);
    }
    Ok(courses)
}

/// Deletes outcomes and reports that have expired.
pub(super) fn purge(tx: &Tx<'_>, now: Timestamp) -> Result<(), BrokerError> {
    tx.sql
        .prepare_cached(
            "DELETE FROM tasks WHERE id IN
                 (SELECT id FROM tasks WHERE expires <= ?1 ORDER BY expires LIMIT ?2)",
        )?
        .execute(params![millis(now), PURGE])?;
    tx.sql.prepare_cached("DELETE FROM workers WHERE expires <= ?1")?.execute([millis(now)])?;
    Ok(())
}

/// Forgets a worker.
pub(super) fn forget(tx: &Tx<'_>, id: WorkerId) -> Result<(), BrokerError> {
    tx.sql.prepare_cached("DELETE FROM workers WHERE id = ?1")?.execute([id.to_string()])?;
    Ok(())
}
