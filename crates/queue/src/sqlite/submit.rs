//! submit: stores a task and queues it, or refuses it.

use protocol::{Task, Timestamp, record};
use rusqlite::{OptionalExtension, named_params, params};

use super::store::Tx;
use super::task::{count, emit, instant, millis, next_place};
use crate::pace::Pace;
use crate::{BrokerError, Submitted, stored};

pub(super) fn submit(
    tx: &mut Tx<'_>,
    task: &Task,
    limit: u64,
    now: Timestamp,
) -> Result<Submitted, BrokerError> {
    let id = task.id.to_string();
    tx.sql
        .prepare_cached("DELETE FROM tasks WHERE id = ?1 AND expires <= ?2")?
        .execute(params![id, millis(now)])?;
    let before = tx
        .sql
        .prepare_cached("SELECT submitted, depth FROM tasks WHERE id = ?1")?
        .query_row([&id], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
        .optional()?;
    if let Some((at, depth)) = before {
        return Ok(accepted(task, instant(at), unsigned(depth)));
    }

    let pace = pace(tx, task.model.as_str())?;
    if pace.queued >= limit {
        return Err(BrokerError::QueueFull {
            bound: crate::Bound::Model,
            model: task.model.clone(),
            held: pace.queued,
            limit,
            retry_after_s: pace.retry_after_s(),
        });
    }
    let depth = pace.queued + 1;
    let place = next_place(tx)?;
    tx.sql
        .prepare_cached(
            "INSERT INTO tasks (id, record, model, lane, max_attempts, ttl_ms, state, place, depth,
                                submitted)
             VALUES (:id, :record, :model, :lane, :max, :ttl, 'queued', :place, :depth, :now)",
        )?
        .execute(named_params! {
            ":id": id,
            ":record": record::encode(task)?,
            ":model": task.model.as_str(),
            ":lane": task.lane.as_str(),
            ":max": task.max_attempts,
            ":ttl": i64::from(task.result_ttl_s) * 1_000,
            ":place": place,
            ":depth": i64::try_from(depth).unwrap_or(i64::MAX),
            ":now": millis(now),
        })?;
    count(tx, task.model.as_str(), 1, 0)?;
    tx.queued();
    emit(tx, task.id, now, &stored::queued_event()?)?;
    Ok(accepted(task, now, depth))
}

fn accepted(task: &Task, at: Timestamp, depth: u64) -> Submitted {
    let state = protocol::TaskState::Queued;
    Submitted { task_id: task.id, created: true, state, at, depth, estimate: None }
}

/// How a model's queue moves.
pub(super) fn pace(tx: &Tx<'_>, model: &str) -> Result<Pace, BrokerError> {
    let row = tx
        .sql
        .prepare_cached("SELECT queued, processing, service_ms FROM stats WHERE model = ?1")?
        .query_row([model], |row| {
            Ok(Pace {
                queued: unsigned(row.get(0)?),
                processing: unsigned(row.get(1)?),
                service_ms: row.get(2)?,
            })
        })
        .optional()?;
    Ok(row.unwrap_or(Pace { queued: 0, processing: 0, service_ms: 0.0 }))
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
