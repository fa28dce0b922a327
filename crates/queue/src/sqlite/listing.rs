//! Operators' search for tasks. An index by state, model and id answers filters by state; other filters read the tasks in the
//! order of their ids.

use std::cmp::Reverse;

use async_trait::async_trait;
use protocol::{ModelId, TaskId, TaskState, Timestamp};
use rusqlite::{Row, named_params};

use super::SqliteBroker;
use super::column::{Key, Name, key, millis, task_id, unsigned, worker_id};
use super::course::find;
use super::store::Tx;
use super::task::{self, By};
use crate::listed::{SPARE, StoredTask};
use crate::stored::{Ending, StoredSummary};
use crate::{BrokerError, ListedState, Listing, MAX_SEARCHED, TaskCursor, TaskFilter, TaskPage};

#[async_trait]
impl Listing for SqliteBroker {
    async fn tasks(
        &self,
        filter: &TaskFilter,
        after: Option<TaskCursor>,
        limit: usize,
    ) -> Result<TaskPage, BrokerError> {
        let filter = filter.clone();
        self.inner.store.run(move |tx| page(tx, &filter, after, limit, Timestamp::now())).await
    }

    async fn cancel_queued(&self, ids: &[TaskId]) -> Result<Vec<TaskId>, BrokerError> {
        let ids = ids.to_vec();
        self.inner.store.run(move |tx| cancel(tx, &ids, Timestamp::now())).await
    }
}

fn page(
    tx: &Tx<'_>,
    filter: &TaskFilter,
    after: Option<TaskCursor>,
    limit: usize,
    now: Timestamp,
) -> Result<TaskPage, BrokerError> {
    let mut below = filter.begins_below(after, now);
    let (mut tasks, mut left) = (Vec::new(), MAX_SEARCHED);
    while tasks.len() < limit && left > 0 {
        let wanted = limit - tasks.len() + SPARE;
        let most = if filter.is_indexed() { wanted.min(left) } else { left };
        left -= most;
        let (found, more) = newest(tx, filter, below, most, now)?;
        below = found.last().map(|task| task.summary.id).filter(|_| more);
        let mut found = found.into_iter().peekable();
        while let Some(stored) = found.next() {
            let id = stored.summary.id;
            let listed = stored.read().filter(|task| filter.matches(task, now));
            tasks.extend(listed);
            if tasks.len() == limit && found.peek().is_some() {
                below = Some(id);
                break;
            }
        }
        if below.is_none() {
            break;
        }
    }
    Ok(TaskPage { tasks, next: below.map(TaskCursor) })
}

/// Returns the up to `most` newest tasks with ids below `below` of the filter's states and model, and whether more follow.
fn newest(
    tx: &Tx<'_>,
    filter: &TaskFilter,
    below: Option<TaskId>,
    most: usize,
    now: Timestamp,
) -> Result<(Vec<StoredTask>, bool), BrokerError> {
    let below = below.map_or([0xFF; 16], key);
    if filter.states.is_empty() && filter.model.is_none() {
        let found = read(tx, None, below, most, now)?;
        let more = found.len() == most;
        return Ok((found, more));
    }
    let models = match &filter.model {
        Some(model) => vec![model.clone()],
        None => models(tx)?,
    };
    let (mut found, mut more) = (Vec::new(), false);
    for state in filter.selected_states() {
        for model in &models {
            let some = read(tx, Some((state, model)), below, most, now)?;
            more |= some.len() == most;
            found.extend(some);
        }
    }
    found.sort_by_key(|task| Reverse(task.summary.id));
    more |= found.len() > most;
    found.truncate(most);
    Ok((found, more))
}

/// Returns all models that ever had a submit.
fn models(tx: &Tx<'_>) -> Result<Vec<ModelId>, BrokerError> {
    let mut query = tx.sql.prepare_cached("SELECT model FROM stats")?;
    let models = query.query_map([], |row| row.get(0).map(|name: String| ModelId::new(name)))?;
    Ok(models.collect::<Result<_, _>>()?)
}

/// Reads the newest tasks with keys below `below`: all, or those of a state and a model.
fn read(
    tx: &Tx<'_>,
    of: Option<(ListedState, &ModelId)>,
    below: Key,
    most: usize,
    now: Timestamp,
) -> Result<Vec<StoredTask>, BrokerError> {
    const COLUMNS: &str = "SELECT id, tenant, model, lane, notes, listed, attempt, worker, cancel, submitted, run_at, started,
                                  finished, CASE WHEN state = 'failed' THEN outcome END
                           FROM tasks";
    const KEPT: &str =
        "id < :below AND (expires IS NULL OR expires > :now) ORDER BY id DESC LIMIT :most";
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let stored = match of {
        None => tx
            .sql
            .prepare_cached(&format!("{COLUMNS} WHERE {KEPT}"))?
            .query_map(
                named_params! { ":below": below, ":now": millis(now), ":most": most },
                stored,
            )?
            .collect::<Result<_, _>>()?,
        Some((state, model)) => tx
            .sql
            .prepare_cached(&format!(
                "{COLUMNS} WHERE listed = :state AND model = :model AND {KEPT}"
            ))?
            .query_map(
                named_params! {
                    ":below": below,
                    ":now": millis(now),
                    ":most": most,
                    ":state": Name(state),
                    ":model": model.as_str(),
                },
                stored,
            )?
            .collect::<Result<_, _>>()?,
    };
    Ok(stored)
}

fn stored(row: &Row<'_>) -> rusqlite::Result<StoredTask> {
    let optional = |at: Option<i64>| at.map(unsigned);
    Ok(StoredTask {
        summary: StoredSummary {
            id: task_id(row.get(0)?),
            record: None,
            tenant: row.get(1)?,
            model: row.get(2)?,
            lane: row.get(3)?,
            notes: row.get(4)?,
        },
        state: row.get::<_, Name<_>>(5)?.0,
        attempt: row.get(6)?,
        worker: row.get::<_, Option<Key>>(7)?.map(worker_id),
        cancel: row.get(8)?,
        submitted: unsigned(row.get(9)?),
        run_at: optional(row.get(10)?),
        started: optional(row.get(11)?),
        finished: optional(row.get(12)?),
        failure: row.get(13)?,
    })
}

fn cancel(tx: &mut Tx<'_>, ids: &[TaskId], now: Timestamp) -> Result<Vec<TaskId>, BrokerError> {
    let mut cancelled = Vec::new();
    for id in ids {
        let queued = find(tx, *id, now)?.filter(|course| course.state == TaskState::Queued);
        if let Some(course) = queued {
            task::end(tx, &course, now, &Ending::cancelled()?, By::Queue)?;
            cancelled.push(*id);
        }
    }
    Ok(cancelled)
}
