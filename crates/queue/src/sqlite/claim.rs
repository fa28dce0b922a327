//! claim: takes the first tasks of the first non-empty queues, and puts them under leases.

use protocol::{Lane, ModelId, Timestamp};
use rusqlite::{OptionalExtension, named_params, params};

use super::column::{Key, millis, task_id, worker_key};
use super::course::{count, emit, find, holding};
use super::store::Tx;
use super::{line, operations, submit};
use crate::limits::{MOST_TAKEN, PROMOTED};
use crate::stored::Holding;
use crate::{BrokerError, Claimant, Lease, Room, lanes, pace};

/// Claims as many tasks as there is `room` for, under leases that last `until` a time of the steady clock. The first task's
/// lane is that of the `turn`-th claim.
pub(super) fn claim(
    tx: &mut Tx<'_>,
    claimant: &Claimant,
    room: Room,
    turn: u64,
    now: Timestamp,
    until: Timestamp,
) -> Result<Vec<Holding>, BrokerError> {
    line::promote(tx, now, PROMOTED)?;
    let mut models = Vec::with_capacity(claimant.models.len());
    for model in &claimant.models {
        if !operations::is_paused(tx, model)? {
            models.push(model);
        }
    }
    let mut taken = Vec::new();
    let mut batch = 0; // of lane `batch`
    let wanted = part(tx, &models, room.tasks.clamp(1, MOST_TAKEN) as u64, now)?;
    while (taken.len() as u64) < wanted {
        let order = lanes::order(turn + taken.len() as u64);
        let order = order.into_iter().filter(|lane| *lane != Lane::Batch || batch < room.batch);
        let Some((id, lane)) = first(tx, &models, order, now)? else { break };
        batch += usize::from(lane == Lane::Batch);
        taken.push(take(tx, claimant, id, now, until)?);
    }
    Ok(taken)
}

/// Returns how many of `most` tasks the claimant gets.
fn part(tx: &Tx<'_>, models: &[&ModelId], most: u64, now: Timestamp) -> Result<u64, BrokerError> {
    if most == 1 {
        return Ok(1);
    }
    let (mut queued, mut capacity, mut processing) = (0, 0, 0);
    for model in models {
        let pace = submit::pace(tx, model.as_str())?;
        queued += pace.queued;
        processing += pace.processing;
        capacity += line::capacity(tx, model.as_str(), now)?;
    }
    Ok(pace::part(most, queued, capacity, processing))
}

/// Returns the next task and its lane.
fn first(
    tx: &Tx<'_>,
    models: &[&ModelId],
    order: impl Iterator<Item = Lane>,
    now: Timestamp,
) -> Result<Option<(Key, Lane)>, BrokerError> {
    for lane in order {
        for model in models {
            let first: Option<Key> = tx
                .sql
                .prepare_cached(
                    "SELECT id FROM tasks WHERE model = ?1 AND lane = ?2 AND spot = 'stream'
                       AND (deadline IS NULL OR deadline > ?3)
                     ORDER BY place LIMIT 1",
                )?
                .query_row(params![model.as_str(), lane.as_str(), millis(now)], |row| row.get(0))
                .optional()?;
            if let Some(first) = first {
                return Ok(Some((first, lane)));
            }
        }
    }
    Ok(None)
}

fn take(
    tx: &mut Tx<'_>,
    claimant: &Claimant,
    id: Key,
    now: Timestamp,
    until: Timestamp,
) -> Result<Holding, BrokerError> {
    let task_id = task_id(id);
    let course = find(tx, task_id, now)?.ok_or_else(|| {
        BrokerError::Corrupt(format!("the record of queued task {task_id} is missing"))
    })?;
    let lease = Lease { task_id, worker: claimant.worker, attempt: course.next_attempt() };
    tx.sql
        .prepare_cached(
            "UPDATE tasks SET state = 'processing', attempt = :attempt, worker = :worker,
                    started = :now, first_start = coalesce(first_start, :now), lease_until = :until,
                    deadline = NULL, published = 0, reaping = 0
             WHERE id = :id",
        )?
        .execute(named_params! {
            ":id": id,
            ":attempt": lease.attempt.get(),
            ":worker": worker_key(lease.worker),
            ":now": millis(now),
            ":until": millis(until),
        })?;
    line::leave(tx, &course)?;
    line::count_queued(tx, &course, -1)?;
    count(tx, &course.model, -1, 1)?;
    emit(tx, task_id, now, None)?;
    holding(tx, lease)
}
