//! Operators' search for tasks: pages of the indexes (`scripts/lib/listed.lua`), merged from all partitions.

use std::cmp::Reverse;

use async_trait::async_trait;
use futures::future::join_all;
use protocol::{TaskId, Timestamp};

use super::RedisBroker;
use super::partition::Partition;
use super::partitions::all;
use super::reply::Reply;
use crate::listed::SPARE;
use crate::stored::Ending;
use crate::{
    BrokerError, ListedState, ListedTask, Listing, MAX_SEARCHED, TaskCursor, TaskFilter, TaskPage,
};

/// The maximum number of tasks that one call cancels, so that no other client waits much longer than a few milliseconds.
const CANCELLED_AT_ONCE: usize = 64;

/// One partition's part of a page.
struct Part {
    /// The tasks that match, newest first.
    tasks: Vec<ListedTask>,
    /// The last task that was searched; `None` if all were.
    searched_to: Option<TaskId>,
}

#[async_trait]
impl Listing for RedisBroker {
    async fn tasks(
        &self,
        filter: &TaskFilter,
        after: Option<TaskCursor>,
        limit: usize,
    ) -> Result<TaskPage, BrokerError> {
        // The ids are made by gateways' clocks, as this one is.
        let below = filter.begins_below(after, Timestamp::now());
        let asked = self.partitions.all().await?.iter();
        let asked = asked.map(|partition| partition.tasks(filter, below, limit));
        Ok(merge(all(join_all(asked).await)?, limit))
    }

    async fn cancel_queued(&self, ids: &[TaskId]) -> Result<Vec<TaskId>, BrokerError> {
        let parts = self.partitions.group(ids).await?;
        let asked = parts.iter().map(|(partition, ids)| partition.cancel_queued(ids));
        Ok(all(join_all(asked).await)?.concat())
    }
}

/// Merges parts into a page. It ends where the first partition stopped searching, since older tasks of that partition are
/// unknown.
fn merge(parts: Vec<Part>, limit: usize) -> TaskPage {
    let searched_to = parts.iter().filter_map(|part| part.searched_to).max();
    let mut tasks: Vec<_> = parts.into_iter().flat_map(|part| part.tasks).collect();
    tasks.retain(|task| searched_to.is_none_or(|last| task.task.id >= last));
    tasks.sort_by_key(|task| Reverse(task.task.id));
    let is_cut = tasks.len() > limit;
    tasks.truncate(limit);
    let last = tasks.last().map(|task| task.task.id).filter(|_| is_cut);
    TaskPage { tasks, next: last.or(searched_to).map(TaskCursor) }
}

/// Returns the names of the indexes that have the tasks of a filter.
fn indexes(filter: &TaskFilter) -> Vec<&'static str> {
    let name = |state: ListedState| match state {
        ListedState::Queued => "live",
        ListedState::Processing => "leases",
        other => other.as_str(),
    };
    filter.selected_states().map(name).collect()
}

impl Partition {
    /// Returns the newest tasks that match, with ids below `below`.
    async fn tasks(
        &self,
        filter: &TaskFilter,
        mut below: Option<TaskId>,
        limit: usize,
    ) -> Result<Part, BrokerError> {
        let indexes = indexes(filter);
        let (mut tasks, mut left) = (Vec::new(), MAX_SEARCHED);
        while tasks.len() < limit && left > 0 {
            let wanted = limit - tasks.len() + SPARE;
            let most = if filter.is_indexed() { wanted.min(left) } else { left };
            left -= most;
            let mut call = self.scripts.tasks.prepare_invoke();
            call.key(self.keys.base()).key(self.keys.models()).key(self.keys.leases());
            call.arg(below.map_or_else(String::new, |id| id.to_string())).arg(most);
            call.arg(filter.model.as_ref().map_or("", |model| model.as_str())).arg(&indexes);
            let mut reply = Reply::new("tasks", self.link.run(&call).await?);
            let now = reply.instant()?;
            below = reply.optional()?;
            while !reply.is_read() {
                let Some(task) = reply.listed()?.read() else { continue };
                if filter.matches(&task, now) {
                    tasks.push(task);
                    if tasks.len() == limit && !reply.is_read() {
                        below = tasks.last().map(|task| task.task.id);
                        break;
                    }
                }
            }
            if below.is_none() {
                break;
            }
        }
        Ok(Part { tasks, searched_to: below })
    }

    async fn cancel_queued(&self, ids: &[TaskId]) -> Result<Vec<TaskId>, BrokerError> {
        let outcome = Ending::cancelled()?.outcome;
        let mut cancelled = Vec::new();
        for some in ids.chunks(CANCELLED_AT_ONCE) {
            let mut call = self.scripts.cancel_queued.prepare_invoke();
            call.key(self.keys.base()).arg(&outcome);
            for id in some {
                call.arg(id.to_string());
            }
            let mut reply = Reply::new("cancel_queued", self.link.run(&call).await?);
            while !reply.is_read() {
                cancelled.push(reply.parse()?);
            }
        }
        Ok(cancelled)
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Attempt, TaskSummary, TenantId};
    use uuid::Uuid;

    use super::*;

    fn id(number: u128) -> TaskId {
        Uuid::from_u128(number).into()
    }

    fn part(tasks: &[u128], searched_to: Option<u128>) -> Part {
        let task = |number: &u128| ListedTask {
            task: TaskSummary {
                id: id(*number),
                tenant: TenantId::new("tenant"),
                model: protocol::ModelId::new("demo"),
                lane: Default::default(),
                user_id: None,
                metadata: Default::default(),
            },
            state: ListedState::Queued,
            attempt: Attempt::new(0),
            worker: None,
            cancel_requested: false,
            submitted_at: Timestamp::from_millis(0),
            run_at: None,
            started_at: None,
            finished_at: None,
            error_type: None,
        };
        Part { tasks: tasks.iter().map(task).collect(), searched_to: searched_to.map(id) }
    }

    #[test]
    fn merged_page_ends_where_a_partition_stopped_searching() {
        let merged = |parts, limit| {
            let page = merge(parts, limit);
            let ids: Vec<_> = page.tasks.iter().map(|t| t.task.id.as_uuid().as_u128()).collect();
            (ids, page.next.map(|TaskCursor(id)| id.as_uuid().as_u128()))
        };
        let parts = || vec![part(&[9, 4], Some(3)), part(&[8, 7, 2], None), part(&[], Some(5))];
        assert_eq!(merged(parts(), 10), (vec![9, 8, 7], Some(5)));
        assert_eq!(merged(parts(), 2), (vec![9, 8], Some(8)));
        assert_eq!(merged(parts(), 3), (vec![9, 8, 7], Some(5)));
        assert_eq!(merged(vec![part(&[2], None), part(&[3, 1], None)], 3), (vec![3, 2, 1], None));
        assert_eq!(merged(vec![part(&[2], None), part(&[3, 1], None)], 2), (vec![3, 2], Some(2)));
        assert_eq!(merged(vec![part(&[], None)], 2), (vec![], None));
    }
}
