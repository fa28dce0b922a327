//! submit: stores a task and queues it, or refuses it.

use protocol::{Task, TaskId, TaskState, Timestamp, record};
use rusqlite::{OptionalExtension, named_params, params};

use super::column::{Key, Name, instant, key, millis, task_id, unsigned};
use super::course::{count, emit, find};
use super::line::{self, standing};
use super::store::Tx;
use super::{meters, periodic, webhooks};
use crate::pace::Pace;
use crate::{Bound, BrokerError, Idempotency, Matches, Start, SubmitOptions, Submitted, stored};

pub(super) fn submit(
    tx: &mut Tx<'_>,
    task: &Task,
    options: &SubmitOptions,
    now: Timestamp,
) -> Result<Submitted, BrokerError> {
    let id = key(task.id);
    tx.sql
        .prepare_cached("DELETE FROM tasks WHERE id = ?1 AND expires <= ?2")?
        .execute(params![id, millis(now)])?;
    if find(tx, task.id, now)?.is_some() {
        return there(tx, task.id, false, now);
    }
    if let Some(idempotency) = &options.idempotency
        && let Some(known) = same_request(tx, task, idempotency, now)?
    {
        return there(tx, known, false, now);
    }
    if let Some(step) = &options.step
        && !periodic::take(tx, step, Some(task.id))?
    {
        return Err(BrokerError::PeriodicChanged(step.id.to_string()));
    }
    let record = record::encode(task)?;
    let size = i64::try_from(record.len()).unwrap_or(i64::MAX);
    check_bounds(tx, task, options, unsigned(size))?;
    let (charge, readings) = meters::charge(tx, task, &options.charge, now)?;

    let span = |span: std::time::Duration| millis(now + span);
    let run_at = match options.start {
        Start::Now => 0,
        Start::After(delay) => span(delay),
        Start::At(at) => millis(at),
    };
    let run_at = (run_at > millis(now)).then_some(run_at);
    tx.sql
        .prepare_cached(
            "INSERT INTO tasks (id, record, notes, model, lane, tenant, size, max_attempts, ttl_ms,
                                state, place, depth, submitted, run_at, deadline, charge, spot)
             VALUES (:id, :record, :notes, :model, :lane, :tenant, :size, :max, :ttl, 'queued', 0,
                     1 + coalesce((SELECT queued FROM stats WHERE model = :model), 0),
                     :now, :run_at, :deadline, :charge, CASE WHEN :run_at IS NOT NULL THEN 'delayed' END)",
        )?
        .execute(named_params! {
            ":id": id,
            ":record": record,
            ":notes": stored::notes(task)?,
            ":model": task.model.as_str(),
            ":lane": task.lane.as_str(),
            ":tenant": task.tenant.as_str(),
            ":size": size,
            ":max": task.max_attempts,
            ":ttl": i64::from(task.result_ttl_s) * 1_000,
            ":now": millis(now),
            ":run_at": run_at,
            ":deadline": options.expires_in.map(span),
            ":charge": charge,
        })?;
    if let Some(Idempotency { key, body_hash, .. }) = &options.idempotency {
        tx.sql
            .prepare_cached(
                "INSERT OR REPLACE INTO keys (tenant, key, body, task) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![task.tenant.as_str(), key, body_hash, id])?;
    }
    let course = find(tx, task.id, now)?
        .ok_or_else(|| BrokerError::Corrupt("the record of a stored task is missing".into()))?;
    count(tx, &course.model, 1, 0)?;
    line::count_queued(tx, &course, 1)?;
    match run_at {
        None => line::join(tx, &course, false)?,
        Some(_) => tx.queued(), // so that blocked claims learn until when
    }
    if let Some(webhook) = &task.webhook {
        webhooks::store(tx, task, webhook, now)?;
    }
    emit(tx, task.id, now, None)?;
    Ok(Submitted { readings, ..there(tx, task.id, true, now)? })
}

/// Returns the reply about an existing task.
pub(super) fn there(
    tx: &Tx<'_>,
    id: TaskId,
    created: bool,
    now: Timestamp,
) -> Result<Submitted, BrokerError> {
    let (state, at, depth): (Name<TaskState>, i64, i64) = tx
        .sql
        .prepare_cached("SELECT state, submitted, depth FROM tasks WHERE id = ?1")?
        .query_row([key(id)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(Submitted {
        task_id: id,
        created,
        state: state.0,
        at: instant(at),
        depth: unsigned(depth),
        estimate: standing(tx, id, now)?.map(|standing| standing.estimate()),
        readings: Vec::new(),
    })
}

/// Returns the task that an earlier submit of the same request created.
fn same_request(
    tx: &Tx<'_>,
    task: &Task,
    by: &Idempotency,
    now: Timestamp,
) -> Result<Option<TaskId>, BrokerError> {
    let since = match by.matches {
        Matches::Always => i64::MIN,
        Matches::Within(span) => {
            millis(now).saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
        }
        Matches::Never => return Ok(None),
    };
    let before: Option<(Key, String)> = tx
        .sql
        .prepare_cached(
            "SELECT keys.task, keys.body FROM keys JOIN tasks ON tasks.id = keys.task
             WHERE keys.tenant = ?1 AND keys.key = ?2 AND tasks.submitted >= ?3
               AND (tasks.expires IS NULL OR tasks.expires > ?4)",
        )?
        .query_row(params![task.tenant.as_str(), by.key, since, millis(now)], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((known, body)) = before else { return Ok(None) };
    let known = task_id(known);
    if body == by.body_hash {
        Ok(Some(known))
    } else {
        Err(BrokerError::KeyReused { task_id: known })
    }
}

fn check_bounds(
    tx: &Tx<'_>,
    task: &Task,
    options: &SubmitOptions,
    size: u64,
) -> Result<(), BrokerError> {
    let pace = pace(tx, task.model.as_str())?;
    let tenant: Option<i64> = tx
        .sql
        .prepare_cached("SELECT queued FROM tenants WHERE tenant = ?1")?
        .query_row([task.tenant.as_str()], |row| row.get(0))
        .optional()?;
    let bytes: i64 =
        tx.sql.prepare_cached("SELECT bytes FROM totals")?.query_row([], |row| row.get(0))?;
    let bounds = options.bounds;
    for (bound, held, more, limit) in [
        (Bound::Model, pace.queued, 1, bounds.model),
        (Bound::Tenant, unsigned(tenant.unwrap_or(0)), 1, bounds.tenant),
        (Bound::Bytes, unsigned(bytes), size, bounds.bytes),
    ] {
        if held.saturating_add(more) > limit {
            let (model, retry_after_s) = (task.model.clone(), pace.retry_after_s());
            return Err(BrokerError::QueueFull { bound, model, held, limit, retry_after_s });
        }
    }
    Ok(())
}

/// Returns the counters that determine how fast a model's queue drains.
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
