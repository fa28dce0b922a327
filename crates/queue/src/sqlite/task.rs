//! The ways out of an attempt: the end of a task, and its requeueing. `redis/scripts/lib/` does the same
//! for Redis.

use std::time::Duration;

use protocol::{TaskState, Timestamp};
use rusqlite::{named_params, params};

use super::column::{Name, key, millis};
use super::course::{Course, count, emit, keep_started};
use super::store::Tx;
use super::{line, metering, webhooks};
use crate::stored::Ending;
use crate::{BrokerError, LINE_SPAN};

/// The cause of a task's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The holder of its lease finished it, and may repeat the call.
    Finisher,
    /// The holder of its lease released it after cancellation was requested.
    Releaser,
    /// The queue itself: any process may log it at once.
    Queue,
}

/// Ends a task: settles its charge, deletes the lease and the prompt, writes outcome and event, starts the TTL, and
/// makes its log line pending and its webhook due.
pub(super) fn end(
    tx: &mut Tx<'_>,
    course: &Course,
    now: Timestamp,
    ending: &Ending,
    by: By,
) -> Result<(), BrokerError> {
    metering::end(tx, course, now, ending)?;
    tx.sql
        .prepare_cached(
            "UPDATE tasks SET state = :state, outcome = :outcome, finished = :now, record = '',
                    failures = '[]', expires = :now + ttl_ms, lease_until = NULL,
                    by_holder = :by_holder, unlogged = :unlogged, charge = NULL
             WHERE id = :id",
        )?
        .execute(named_params! {
            ":id": key(course.id),
            ":state": Name(ending.state),
            ":outcome": ending.outcome,
            ":now": millis(now),
            ":by_holder": by == By::Finisher,
            ":unlogged": if by == By::Queue { 0 } else { millis(now + LINE_SPAN) },
        })?;
    webhooks::fall_due(tx, course, now, ending)?;
    let (queued, processing) = if course.state == TaskState::Queued {
        line::leave(tx, course)?;
        line::count_queued(tx, course, -1)?;
        (-1, 0)
    } else {
        (0, -1)
    };
    let ended = |state| i64::from(ending.state == state);
    tx.sql
        .prepare_cached(
            "UPDATE stats SET queued = queued + ?2, processing = processing + ?3,
                    completed = completed + ?4, failed = failed + ?5, cancelled = cancelled + ?6
             WHERE model = ?1",
        )?
        .execute(params![
            course.model,
            queued,
            processing,
            ended(TaskState::Completed),
            ended(TaskState::Failed),
            ended(TaskState::Cancelled)
        ])?;
    emit(tx, course.id, now, None)
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
            "UPDATE tasks SET state = 'queued', started = NULL, lease_until = NULL WHERE id = ?1",
        )?
        .execute([key(course.id)])?;
    count(tx, &course.model, 1, -1)?;
    line::count_queued(tx, course, 1)?;
    if rest.is_zero() {
        line::join(tx, course, true)?;
    } else {
        line::wait(tx, course, now + rest)?;
    }
    keep_started(tx, course)?;
    emit(tx, course.id, now, Some(event))
}
