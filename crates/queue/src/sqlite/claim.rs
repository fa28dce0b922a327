//! claim: takes the first task of the first queue that has one, and puts it under a lease.

use protocol::{Lane, Timestamp};
use rusqlite::{OptionalExtension, named_params, params};

use super::store::Tx;
use super::task::{count, emit, find, holding, millis, next_attempt, task_id};
use super::{line, operations};
use crate::stored::{Holding, started_event};
use crate::{BrokerError, Claimant, Lease};

/// Most delayed tasks that one claim lets into the queue.
const PROMOTED: u32 = 16;

pub(super) fn claim(
    tx: &mut Tx<'_>,
    claimant: &Claimant,
    order: [Lane; 4],
    now: Timestamp,
) -> Result<Option<Holding>, BrokerError> {
    line::promote(tx, now, PROMOTED)?;
    let mut models = Vec::with_capacity(claimant.models.len());
    for model in &claimant.models {
        if !operations::is_paused(tx, model)? {
            models.push(model);
        }
    }
    for lane in order {
        for model in &models {
            let first: Option<String> = tx
                .sql
                .prepare_cached(
                    "SELECT id FROM tasks WHERE model = ?1 AND lane = ?2 AND spot = 'stream'
                       AND (deadline IS NULL OR deadline > ?3)
                     ORDER BY place LIMIT 1",
                )?
                .query_row(params![model.as_str(), lane.as_str(), millis(now)], |row| row.get(0))
                .optional()?;
            if let Some(id) = first {
                return take(tx, claimant, &id, now).map(Some);
            }
        }
    }
    Ok(None)
}

fn take(
    tx: &mut Tx<'_>,
    claimant: &Claimant,
    id: &str,
    now: Timestamp,
) -> Result<Holding, BrokerError> {
    let task_id = task_id(id)?;
    let course = find(tx, task_id, now)?
        .ok_or_else(|| BrokerError::Corrupt(format!("the queued task {id} is not there")))?;
    let lease = Lease { task_id, worker: claimant.worker, attempt: next_attempt(&course) };
    tx.sql
        .prepare_cached(
            "UPDATE tasks SET state = 'processing', attempt = :attempt, worker = :worker,
                    fence = :fence, started = :now, lease_until = :until,
                    deadline = NULL, told = 0, reaping = 0
             WHERE id = :id",
        )?
        .execute(named_params! {
            ":id": id,
            ":attempt": lease.attempt.get(),
            ":worker": lease.worker.to_string(),
            ":fence": lease.fence(),
            ":now": millis(now),
            ":until": millis(now + claimant.lease),
        })?;
    line::leave(tx, &course)?;
    line::count_queued(tx, &course, -1)?;
    count(tx, &course.model, -1, 1)?;
    emit(tx, task_id, now, &started_event(lease.attempt, lease.worker)?)?;
    holding(tx, lease)
}
