//! Operations of a lease's holder: renew, publish, finish, release. Each first checks that the lease is
//! the current one.

use std::time::Duration;

use protocol::{Chunk, Outcome, TaskError, Timestamp};
use rusqlite::params;

use super::column::{instant, key, millis, unsigned};
use super::course::{Course, emit, find, note};
use super::letters;
use super::store::Tx;
use super::task::{self, By};
use crate::pace::{SHORTEST_MS, next_average, next_deviation};
use crate::stored::{Ending, requeued_event, token_events};
use crate::{BrokerError, Failure, Lease, LeaseState, Release};

/// Returns the state of the task that `lease` holds now.
fn held(tx: &Tx<'_>, lease: &Lease, now: Timestamp) -> Result<Course, BrokerError> {
    let course = find(tx, lease.task_id, now)?;
    course.filter(|course| course.is_held_under(lease)).ok_or_else(|| lease.lost())
}

/// Extends a lease `until` a time of the steady clock.
pub(super) fn renew(
    tx: &mut Tx<'_>,
    lease: &Lease,
    until: Timestamp,
    now: Timestamp,
) -> Result<LeaseState, BrokerError> {
    let course = held(tx, lease, now)?;
    tx.sql
        .prepare_cached("UPDATE tasks SET lease_until = ?2 WHERE id = ?1")?
        .execute(params![key(lease.task_id), millis(until)])?;
    Ok(LeaseState { cancel_requested: course.cancel })
}

pub(super) fn publish(
    tx: &mut Tx<'_>,
    lease: &Lease,
    from: u64,
    chunks: &[Chunk],
    now: Timestamp,
) -> Result<LeaseState, BrokerError> {
    let course = held(tx, lease, now)?;
    let published = unsigned(course.published);
    let known = usize::try_from(published.saturating_sub(from)).unwrap_or(usize::MAX);
    let news = chunks.get(known..).unwrap_or_default();
    if news.is_empty() {
        return Ok(LeaseState { cancel_requested: course.cancel });
    }
    for body in token_events(lease.attempt, news)? {
        emit(tx, lease.task_id, now, Some(&body))?;
    }
    let published = i64::try_from(from.saturating_add(chunks.len() as u64)).unwrap_or(i64::MAX);
    tx.sql
        .prepare_cached("UPDATE tasks SET published = ?2 WHERE id = ?1")?
        .execute(params![key(lease.task_id), published])?;
    Ok(LeaseState { cancel_requested: course.cancel })
}

pub(super) fn finish(
    tx: &mut Tx<'_>,
    lease: &Lease,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<Timestamp, BrokerError> {
    let course = find(tx, lease.task_id, now)?.ok_or_else(|| lease.lost())?;
    if let Some(finished) = course.finished_under(lease) {
        return Ok(instant(finished)); // repeated
    }
    if !course.is_held_under(lease) {
        return Err(lease.lost());
    }
    let ending = Ending::of(outcome)?;
    if let Outcome::Failed(error) = outcome
        && error.error_type.is_dead_letter()
    {
        // The failures of a task that a reaper finishes are already recorded; the reaper's hold was no
        // attempt.
        if !course.reaping {
            note(tx, course.id, &failure(lease, error, now))?;
        }
        // The letter takes over the prompt, which the end deletes.
        letters::write(tx, course.id, &ending.outcome, now)?;
    }
    task::end(tx, &course, now, &ending, By::Finisher)?;
    if !outcome.is_computed() {
        return Ok(now);
    }
    let took = millis(now).saturating_sub(course.started.unwrap_or_else(|| millis(now)));
    let latest = (took as f64).max(SHORTEST_MS);
    let (average, deviation): (f64, f64) = tx
        .sql
        .prepare_cached("SELECT service_ms, service_dev FROM stats WHERE model = ?1")?
        .query_row([&course.model], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let deviation = next_deviation(deviation, average, latest);
    tx.sql
        .prepare_cached("UPDATE stats SET service_ms = ?2, service_dev = ?3 WHERE model = ?1")?
        .execute(params![course.model, next_average(average, latest), deviation])?;
    Ok(now)
}

pub(super) fn release(
    tx: &mut Tx<'_>,
    lease: &Lease,
    release: &Release,
    now: Timestamp,
) -> Result<(), BrokerError> {
    let course = find(tx, lease.task_id, now)?.ok_or_else(|| lease.lost())?;
    if course.released == lease.fence() {
        return Ok(()); // repeated
    }
    if !course.is_held_under(lease) {
        return Err(lease.lost());
    }
    let (failed, rest) = match release {
        Release::Unused => (0, Duration::ZERO),
        Release::Failed { error, retry_in } => {
            note(tx, course.id, &failure(lease, error, now))?;
            (1, *retry_in)
        }
    };
    if course.cancel {
        task::end(tx, &course, now, &Ending::cancelled()?, By::Releaser)?;
    } else {
        let event = requeued_event(lease.attempt, release.reason())?;
        task::requeue(tx, &course, now, rest, &event)?;
    }
    tx.sql
        .prepare_cached(
            "UPDATE tasks SET released = ?2, failed = failed + ?3,
                    lost = CASE WHEN ?3 THEN 0 ELSE lost END
             WHERE id = ?1",
        )?
        .execute(params![key(lease.task_id), lease.fence(), failed])?;
    Ok(())
}

fn failure(lease: &Lease, error: &TaskError, at: Timestamp) -> Failure {
    Failure { attempt: lease.attempt, worker: lease.worker, at, error: error.clone() }
}
