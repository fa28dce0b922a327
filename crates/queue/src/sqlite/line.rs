//! The positions of queued tasks: in the stream of their lane, in their tenant's backlog behind it, or
//! delayed until they are due. `redis/scripts/lib/line.lua` does the same for Redis.

use protocol::{Lane, TaskId, TaskState, Timestamp};
use rusqlite::{OptionalExtension, params};

use super::column::{Key, Spot, key, millis, task_id, unsigned};
use super::course::{Course, find, next_place};
use super::store::Tx;
use crate::BrokerError;
use crate::estimate::Standing;
use crate::limits;

const WINDOW: i64 = limits::WINDOW as i64;

/// Adds a task to its tenant's queued tasks and to the queued bytes (1), or subtracts it (-1).
pub(super) fn count_queued(tx: &Tx<'_>, course: &Course, by: i64) -> Result<(), BrokerError> {
    tx.sql
        .prepare_cached(
            "INSERT INTO tenants (tenant, queued) VALUES (?1, ?2)
             ON CONFLICT (tenant) DO UPDATE SET queued = queued + ?2",
        )?
        .execute(params![course.tenant, by])?;
    tx.sql
        .prepare_cached("DELETE FROM tenants WHERE tenant = ?1 AND queued <= 0")?
        .execute([&course.tenant])?;
    tx.sql.prepare_cached("UPDATE totals SET bytes = bytes + ?1")?.execute([by * course.size])?;
    Ok(())
}

/// Appends a task to its lane: to the stream, or to its tenant's backlog if the tenant's window is full.
/// A requeued task (`back`) always goes to the stream.
pub(super) fn join(tx: &mut Tx<'_>, course: &Course, back: bool) -> Result<(), BrokerError> {
    let Course { model, lane, tenant, .. } = course;
    tx.sql
        .prepare_cached(
            "INSERT INTO lanes (model, lane, queued) VALUES (?1, ?2, 1)
             ON CONFLICT (model, lane) DO UPDATE SET queued = queued + 1",
        )?
        .execute(params![model, lane])?;
    let inside: i64 = tx
        .sql
        .prepare_cached(
            "INSERT INTO shares (model, lane, tenant) VALUES (?1, ?2, ?3)
             ON CONFLICT (model, lane, tenant) DO UPDATE SET inside = inside RETURNING inside",
        )?
        .query_row(params![model, lane, tenant], |row| row.get(0))?;
    if back || inside < WINDOW {
        return enter_stream(tx, course, key(course.id));
    }
    let ticket: i64 = tx
        .sql
        .prepare_cached(
            "UPDATE shares SET waiting = waiting + 1, joined = joined + 1
             WHERE model = ?1 AND lane = ?2 AND tenant = ?3 RETURNING joined",
        )?
        .query_row(params![model, lane, tenant], |row| row.get(0))?;
    let place = next_place(tx)?;
    tx.sql
        .prepare_cached("UPDATE tasks SET spot = 'backlog', place = ?2, ticket = ?3 WHERE id = ?1")?
        .execute(params![key(course.id), place, ticket])?;
    Ok(())
}

/// Appends a task of the same share as `like` to the stream.
fn enter_stream(tx: &mut Tx<'_>, like: &Course, id: Key) -> Result<(), BrokerError> {
    let Course { model, lane, tenant, .. } = like;
    tx.sql
        .prepare_cached(
            "UPDATE shares SET inside = inside + 1 WHERE model = ?1 AND lane = ?2 AND tenant = ?3",
        )?
        .execute(params![model, lane, tenant])?;
    let ticket: i64 = tx
        .sql
        .prepare_cached(
            "UPDATE lanes SET entered = entered + 1 WHERE model = ?1 AND lane = ?2
             RETURNING entered",
        )?
        .query_row(params![model, lane], |row| row.get(0))?;
    let place = next_place(tx)?;
    tx.sql
        .prepare_cached("UPDATE tasks SET spot = 'stream', place = ?2, ticket = ?3 WHERE id = ?1")?
        .execute(params![id, place, ticket])?;
    tx.queued();
    Ok(())
}

/// Removes a task from where it waits, and moves the next of its tenant's backlog into the stream.
pub(super) fn leave(tx: &mut Tx<'_>, course: &Course) -> Result<(), BrokerError> {
    let Course { model, lane, tenant, .. } = course;
    tx.sql
        .prepare_cached("UPDATE tasks SET spot = NULL WHERE id = ?1")?
        .execute([key(course.id)])?;
    let (inside, waiting) = match course.spot {
        Some(Spot::Stream) => (-1, 0),
        Some(Spot::Backlog) => (0, -1),
        _ => return Ok(()),
    };
    tx.sql
        .prepare_cached(
            "UPDATE lanes SET queued = queued - 1, departed = departed - ?3
             WHERE model = ?1 AND lane = ?2",
        )?
        .execute(params![model, lane, inside])?;
    let inside: i64 = tx
        .sql
        .prepare_cached(
            "UPDATE shares SET inside = inside + ?4, waiting = waiting + ?5
             WHERE model = ?1 AND lane = ?2 AND tenant = ?3 RETURNING inside",
        )?
        .query_row(params![model, lane, tenant, inside, waiting], |row| row.get(0))?;
    if inside < WINDOW {
        let next: Option<Key> = tx
            .sql
            .prepare_cached(
                "SELECT id FROM tasks
                 WHERE model = ?1 AND lane = ?2 AND tenant = ?3 AND spot = 'backlog'
                 ORDER BY place LIMIT 1",
            )?
            .query_row(params![model, lane, tenant], |row| row.get(0))
            .optional()?;
        if let Some(id) = next {
            tx.sql
                .prepare_cached(
                    "UPDATE shares SET waiting = waiting - 1
                     WHERE model = ?1 AND lane = ?2 AND tenant = ?3",
                )?
                .execute(params![model, lane, tenant])?;
            return enter_stream(tx, course, id);
        }
    }
    tx.sql
        .prepare_cached(
            "DELETE FROM shares WHERE model = ?1 AND lane = ?2 AND tenant = ?3
               AND inside <= 0 AND waiting <= 0",
        )?
        .execute(params![model, lane, tenant])?;
    Ok(())
}

/// Delays a task until it is due.
pub(super) fn wait(tx: &mut Tx<'_>, course: &Course, until: Timestamp) -> Result<(), BrokerError> {
    tx.sql
        .prepare_cached("UPDATE tasks SET spot = 'delayed', run_at = ?2 WHERE id = ?1")?
        .execute(params![key(course.id), millis(until)])?;
    tx.queued(); // so that blocked claims learn until when
    Ok(())
}

/// Moves up to `most` delayed tasks whose time has come into their lanes.
pub(super) fn promote(tx: &mut Tx<'_>, now: Timestamp, most: u32) -> Result<(), BrokerError> {
    let due = tx
        .sql
        .prepare_cached(
            "SELECT id FROM tasks WHERE spot = 'delayed' AND run_at <= ?1 ORDER BY run_at LIMIT ?2",
        )?
        .query_map(params![millis(now), most], |row| row.get::<_, Key>(0))?
        .collect::<Result<Vec<_>, _>>()?;
    for id in due {
        if let Some(course) = find(tx, task_id(id), now)? {
            join(tx, &course, course.attempt > 0)?;
        }
    }
    Ok(())
}

/// Returns when the next delayed task is due.
pub(super) fn next_due(tx: &Tx<'_>) -> Result<Option<i64>, BrokerError> {
    let next = "SELECT min(run_at) FROM tasks WHERE spot = 'delayed'";
    Ok(tx.sql.prepare_cached(next)?.query_row([], |row| row.get(0))?)
}

/// Returns how many of a model's tasks the ready workers can run concurrently.
pub(super) fn capacity(tx: &Tx<'_>, model: &str, now: Timestamp) -> Result<u64, BrokerError> {
    let capacity: i64 = tx
        .sql
        .prepare_cached(
            "SELECT coalesce(sum(json_extract(served.value, '$.capacity')), 0)
             FROM workers, json_each(CASE WHEN json_array_length(report, '$.models') > 0
                 THEN json_extract(report, '$.models') ELSE json_array(json(report)) END) AS served
             WHERE expires > ?2 AND json_extract(served.value, '$.model') = ?1
               AND json_extract(report, '$.status') = 'ready'",
        )?
        .query_row(params![model, millis(now)], |row| row.get(0))?;
    Ok(unsigned(capacity))
}

/// Returns the standing of a queued task, or `None` if it is not queued.
pub(super) fn standing(
    tx: &Tx<'_>,
    id: TaskId,
    now: Timestamp,
) -> Result<Option<Standing>, BrokerError> {
    let Some(course) = find(tx, id, now)?.filter(|course| course.state == TaskState::Queued) else {
        return Ok(None);
    };
    let Course { model, lane, tenant, .. } = &course;
    let known = Lane::ALL.into_iter().find(|known| known.as_str() == lane);
    let (mut queued, mut in_stream, mut departed) = ([0; 4], 0, 0);
    for (place, each) in Lane::ALL.iter().enumerate() {
        let row = tx
            .sql
            .prepare_cached(
                "SELECT queued, entered, departed FROM lanes WHERE model = ?1 AND lane = ?2",
            )?
            .query_row(params![model, each.as_str()], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
            })
            .optional()?;
        let (waiting, came, went) = row.unwrap_or_default();
        queued[place] = unsigned(waiting);
        if Some(*each) == known {
            (in_stream, departed) = (came - went, went);
        }
    }
    let (tenants, waiting, joined): (i64, i64, i64) = tx
        .sql
        .prepare_cached(
            "SELECT (SELECT count(*) FROM shares WHERE model = ?1 AND lane = ?2),
                    coalesce(max(waiting), 0), coalesce(max(joined), 0)
             FROM shares WHERE model = ?1 AND lane = ?2 AND tenant = ?3",
        )?
        .query_row(params![model, lane, tenant], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    let (processing, service_ms, service_dev, paused): (i64, f64, f64, bool) = tx
        .sql
        .prepare_cached(
            "SELECT processing, service_ms, service_dev, paused FROM stats WHERE model = ?1",
        )?
        .query_row([model], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    // For a paused model the time is unknown: report no capacity.
    let capacity = if paused { 0 } else { capacity(tx, model, now)? };
    let (stream_ahead, backlog_ahead) = match course.spot {
        Some(Spot::Stream) => ((in_stream - 1).min(course.ticket - departed - 1), 0),
        // The backlog has the latest `waiting` of the tasks that joined, apart from cancelled ones.
        Some(Spot::Backlog) => {
            (in_stream, (course.ticket - (joined - waiting) - 1).min(waiting - 1))
        }
        _ => (in_stream, waiting),
    };
    Ok(Some(Standing {
        lane: known.ok_or_else(|| BrokerError::Corrupt(format!("'{lane}' is not a lane")))?,
        in_stream: course.spot == Some(Spot::Stream),
        stream_ahead: unsigned(stream_ahead),
        backlog_ahead: unsigned(backlog_ahead),
        delay_ms: unsigned(course.run_at.unwrap_or(0).saturating_sub(millis(now))),
        tenants: unsigned(tenants),
        queued,
        processing: unsigned(processing),
        capacity,
        service_ms,
        service_dev,
    }))
}
