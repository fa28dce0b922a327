//! What the holder of a lease may do: renew, publish, finish, release. Each looks first whether the
//! lease is the current one.

use std::time::Duration;

use protocol::{Outcome, Timestamp};
use rusqlite::params;

use super::store::Tx;
use super::task::{self, Course, emit, find, instant, millis};
use crate::pace::{next_average, next_deviation};
use crate::stored::{Ending, requeued_event, token_events};
use crate::{BrokerError, Lease, LeaseState, Release};

/// The course of the task that `lease` holds now.
fn held(tx: &Tx<'_>, lease: &Lease, now: Timestamp) -> Result<Course, BrokerError> {
    let course = find(tx, lease.task_id, now)?;
    course.filter(|course| course.is_held_under(lease)).ok_or_else(|| lease.lost())
}

pub(super) fn renew(
    tx: &mut Tx<'_>,
    lease: &Lease,
    span: Duration,
    now: Timestamp,
) -> Result<LeaseState, BrokerError> {
    let course = held(tx, lease, now)?;
    tx.sql
        .prepare_cached("UPDATE tasks SET lease_until = ?2 WHERE id = ?1")?
        .execute(params![lease.task_id.to_string(), millis(now + span)])?;
    Ok(LeaseState { cancel_requested: course.cancel })
}

pub(super) fn publish(
    tx: &mut Tx<'_>,
    lease: &Lease,
    chunks: &[String],
    now: Timestamp,
) -> Result<LeaseState, BrokerError> {
    let course = held(tx, lease, now)?;
    for body in token_events(lease.attempt, chunks)? {
        emit(tx, lease.task_id, now, &body)?;
    }
    Ok(LeaseState { cancel_requested: course.cancel })
}

pub(super) fn finish(
    tx: &mut Tx<'_>,
    lease: &Lease,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<Timestamp, BrokerError> {
    let course = find(tx, lease.task_id, now)?.filter(|course| course.fence == lease.fence());
    let course = course.ok_or_else(|| lease.lost())?;
    if let Some(finished) = course.finished {
        return Ok(instant(finished)); // only a finish leaves a fence on a task that has ended
    }
    task::end(tx, &course, now, &Ending::of(outcome)?, true)?;

    let latest = millis(now).saturating_sub(course.started.unwrap_or_else(|| millis(now)));
    let (average, deviation): (f64, f64) = tx
        .sql
        .prepare_cached("SELECT service_ms, service_dev FROM stats WHERE model = ?1")?
        .query_row([&course.model], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let deviation = next_deviation(deviation, average, latest as f64);
    tx.sql
        .prepare_cached("UPDATE stats SET service_ms = ?2, service_dev = ?3 WHERE model = ?1")?
        .execute(params![course.model, next_average(average, latest as f64), deviation])?;
    Ok(now)
}

pub(super) fn release(
    tx: &mut Tx<'_>,
    lease: &Lease,
    release: &Release,
    now: Timestamp,
) -> Result<(), BrokerError> {
    let course = find(tx, lease.task_id, now)?.ok_or_else(|| lease.lost())?;
    if course.returned == lease.fence() {
        return Ok(()); // said before
    }
    if !course.is_held_under(lease) {
        return Err(lease.lost());
    }
    if course.cancel {
        task::end(tx, &course, now, &Ending::cancelled()?, false)?;
    } else {
        let event = requeued_event(lease.attempt, release.reason())?;
        task::requeue(tx, &course, now, &event)?;
    }
    tx.sql
        .prepare_cached("UPDATE tasks SET returned = ?2, failed = failed + ?3 WHERE id = ?1")?
        .execute(params![
            lease.task_id.to_string(),
            lease.fence(),
            u8::from(matches!(release, Release::Failed { .. }))
        ])?;
    Ok(())
}
