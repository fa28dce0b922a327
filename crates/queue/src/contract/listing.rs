//! Operators' search for tasks, and cancelling what it finds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use protocol::{
    Attempt, ErrorType, Lane, ModelId, TaskId, TaskSummary, TenantId, Timestamp, WorkerId,
};
use uuid::Uuid;

use super::BrokerError;

/// The maximum number of tasks that one page looks at. Beyond it, the page is short and says where to continue.
pub const MAX_SEARCHED: usize = 256;

/// The number of ended tasks of a model and a state that are listed at least, as long as their outcomes are kept. A store
/// may list older ones too.
pub const LISTED_ENDED: u64 = 10_000;

/// The maximum age of a task's id at its submit, apart from differences between clocks.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);

/// The part of a [`Broker`](crate::Broker) that finds tasks. The order is that of the tasks' ids, newest first. An id never
/// changes, so a listing has neither gaps nor repetitions, however tasks move while it is read: it has each task that
/// matched all the time once, and one that began or ceased to match meanwhile at most once.
///
/// Tasks are listed from their submit until their outcome expires. A task that was submitted to an earlier version, which
/// had no index, is listed once it is claimed, requeued or ended.
#[async_trait]
pub trait Listing: Send + Sync {
    /// Returns up to `limit` tasks that match, behind `after`. Filters by state, and by state and model, read about as many
    /// tasks as they return; others look at up to [`MAX_SEARCHED`] tasks. So a page may be short or empty although
    /// more follow: only [`TaskPage::next`] says so.
    async fn tasks(
        &self,
        filter: &TaskFilter,
        after: Option<TaskCursor>,
        limit: usize,
    ) -> Result<TaskPage, BrokerError>;

    /// Cancels those of these tasks that are queued, delayed ones included, and returns them. Tasks that a worker has
    /// claimed or that have ended are left as they are.
    async fn cancel_queued(&self, ids: &[TaskId]) -> Result<Vec<TaskId>, BrokerError>;

    /// Lists a page of the queued tasks that match, whatever states the filter names, and cancels those that are still queued
    /// unless `dry_run`. Repeat it with [`CancelledPage::next`] to reach all.
    async fn cancel_matching(
        &self,
        filter: &TaskFilter,
        after: Option<TaskCursor>,
        limit: usize,
        dry_run: bool,
    ) -> Result<CancelledPage, BrokerError> {
        let filter = filter.of_queued();
        if filter.states.is_empty() {
            return Ok(CancelledPage::default());
        }
        let page = self.tasks(&filter, after, limit).await?;
        let matched: Vec<TaskId> = page.tasks.iter().map(|task| task.task.id).collect();
        let cancelled = if dry_run { Vec::new() } else { self.cancel_queued(&matched).await? };
        Ok(CancelledPage { matched, cancelled, next: page.next })
    }
}

/// The state of a listed task: [`protocol::TaskState`], with delayed tasks apart from those that wait in a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListedState {
    /// It waits in a lane for a worker.
    Queued,
    /// It is queued but not due: its start was delayed, or it is in backoff between attempts.
    Delayed,
    /// A worker holds its lease.
    Processing,
    /// It ended with a result.
    Completed,
    /// It ended with an error.
    Failed,
    /// It ended by cancellation.
    Cancelled,
}

impl ListedState {
    /// All states.
    pub const ALL: [Self; 6] = [
        Self::Queued,
        Self::Delayed,
        Self::Processing,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Returns the state's name in the API and in stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Delayed => "delayed",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns whether the task may be cancelled without a worker.
    pub const fn is_queued(self) -> bool {
        matches!(self, Self::Queued | Self::Delayed)
    }
}

impl fmt::Display for ListedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not the name of a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a state of a task")]
pub struct UnknownListedState(pub String);

impl FromStr for ListedState {
    type Err = UnknownListedState;

    fn from_str(text: &str) -> Result<Self, UnknownListedState> {
        let named = Self::ALL.into_iter().find(|state| state.as_str() == text);
        named.ok_or_else(|| UnknownListedState(text.to_owned()))
    }
}

/// Selects tasks. All fields that are set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Only tasks in one of these states; empty for all.
    pub states: BTreeSet<ListedState>,
    /// Only tasks of this model.
    pub model: Option<ModelId>,
    /// Only tasks of this lane.
    pub lane: Option<Lane>,
    /// Only tasks of this owner.
    pub tenant: Option<TenantId>,
    /// Only tasks with this label of the client's end user.
    pub user_id: Option<String>,
    /// Only tasks whose notes have all these entries.
    pub metadata: BTreeMap<String, String>,
    /// Only tasks that were submitted at least this long ago.
    pub older_than: Option<Duration>,
    /// Only tasks that were submitted less than this long ago.
    pub newer_than: Option<Duration>,
}

impl TaskFilter {
    /// Returns whether a task matches at the store's time `now`.
    pub(crate) fn matches(&self, task: &ListedTask, now: Timestamp) -> bool {
        let of = &task.task;
        let age =
            Duration::from_millis(now.as_millis().saturating_sub(task.submitted_at.as_millis()));
        let is_noted = |(name, value): (&String, &String)| of.metadata.get(name) == Some(value);
        (self.states.is_empty() || self.states.contains(&task.state))
            && self.model.as_ref().is_none_or(|model| *model == of.model)
            && self.lane.is_none_or(|lane| lane == of.lane)
            && self.tenant.as_ref().is_none_or(|tenant| *tenant == of.tenant)
            && self.user_id.as_ref().is_none_or(|user| Some(user) == of.user_id.as_ref())
            && self.metadata.iter().all(is_noted)
            && self.older_than.is_none_or(|least| age >= least)
            && self.newer_than.is_none_or(|most| age < most)
    }

    /// Returns whether the indexes alone decide, so that nearly every task that is read matches.
    pub(crate) fn is_indexed(&self) -> bool {
        let Self { states: _, model: _, lane, tenant, user_id, metadata, older_than, newer_than } =
            self;
        lane.is_none()
            && tenant.is_none()
            && user_id.is_none()
            && metadata.is_empty()
            && older_than.is_none()
            && newer_than.is_none()
    }

    /// Returns the states that it selects.
    pub(crate) fn selected_states(&self) -> impl Iterator<Item = ListedState> {
        ListedState::ALL
            .into_iter()
            .filter(|state| self.states.is_empty() || self.states.contains(state))
    }

    /// Returns the id below which the search begins: an id is made before its task is submitted, so younger ids can't be of
    /// old tasks. `None` if the search begins with the newest.
    pub(crate) fn begins_below(&self, after: Option<TaskCursor>, now: Timestamp) -> Option<TaskId> {
        let latest = self.older_than.map(|age| {
            let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            let at = Timestamp::from_millis(now.as_millis().saturating_sub(age)) + CLOCKS_DIFFER;
            // An id begins with the 48 bits of its time.
            TaskId::from(Uuid::from_u128(u128::from(at.as_millis() + 1) << 80))
        });
        let after = after.map(|TaskCursor(id)| id);
        after.into_iter().chain(latest).min()
    }

    /// Returns the filter for those of its tasks that are queued; without states if it selects none.
    fn of_queued(&self) -> Self {
        let states = self.selected_states().filter(|state| state.is_queued()).collect();
        Self { states, ..self.clone() }
    }
}

/// A place in a listing: behind a task, which need not exist any more. Its text is opaque to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskCursor(pub(crate) TaskId);

impl fmt::Display for TaskCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_uuid().simple().fmt(f)
    }
}

/// The text is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of a listing of tasks")]
pub struct InvalidCursor;

impl FromStr for TaskCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let is_plain = text.len() == 32 && !text.contains(char::is_uppercase);
        let id = Uuid::try_parse(text).ok().filter(|_| is_plain);
        id.map(|id| Self(id.into())).ok_or(InvalidCursor)
    }
}

/// Some tasks, newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskPage {
    /// The tasks.
    pub tasks: Vec<ListedTask>,
    /// Where the next page begins; `None` if there is none.
    pub next: Option<TaskCursor>,
}

/// A task as it is listed: without its prompt and its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedTask {
    /// Whose it is, and for which model.
    pub task: TaskSummary,
    /// Where it is.
    pub state: ListedState,
    /// The latest attempt; 0 if there was none.
    pub attempt: Attempt,
    /// The worker of the latest attempt.
    pub worker: Option<WorkerId>,
    /// `true` if cancellation was requested and the worker has not stopped yet.
    pub cancel_requested: bool,
    /// The time when it was accepted.
    pub submitted_at: Timestamp,
    /// The time before which it is not started, if it was delayed.
    pub run_at: Option<Timestamp>,
    /// The time when the latest attempt started; `None` while it is queued.
    pub started_at: Option<Timestamp>,
    /// The time when its outcome was recorded.
    pub finished_at: Option<Timestamp>,
    /// The kind of the error that it failed with.
    pub error_type: Option<ErrorType>,
}

/// What [`Listing::cancel_matching`] did with a page of tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CancelledPage {
    /// The queued tasks that match, newest first.
    pub matched: Vec<TaskId>,
    /// Those that this call cancelled: the others were claimed, or ended, meanwhile. Empty in a dry run.
    pub cancelled: Vec<TaskId>,
    /// Where to continue; `None` if all tasks were searched.
    pub next: Option<TaskCursor>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_names_round_trip() {
        for state in ListedState::ALL {
            assert_eq!(state.to_string().parse::<ListedState>().unwrap(), state);
        }
        assert!("running".parse::<ListedState>().is_err());
    }

    #[test]
    fn only_own_cursors_are_read() {
        let cursor = TaskCursor(TaskId::new());
        let text = cursor.to_string();
        assert_eq!(text.parse(), Ok(cursor));
        for wrong in ["", "0", &text[1..], &text.to_uppercase(), &cursor.0.to_string(), "{}"] {
            assert_eq!(wrong.parse::<TaskCursor>(), Err(InvalidCursor), "{wrong}");
        }
    }

    #[test]
    fn search_for_old_tasks_begins_at_their_ids() {
        let filter =
            TaskFilter { older_than: Some(Duration::from_secs(3600)), ..Default::default() };
        let now = Timestamp::now();
        let below = filter.begins_below(None, now).unwrap();
        let id_at = |ms: u64| TaskId::from(Uuid::from_u128((u128::from(ms) << 80) | 7));
        let hour_ago = now.as_millis() - 3_600_000;
        assert!(id_at(hour_ago + 60_000) < below, "the clock of a gateway may be fast");
        assert!(id_at(hour_ago + 61_000) > below);
        let older = TaskCursor(id_at(hour_ago - 1));
        assert_eq!(filter.begins_below(Some(older), now), Some(older.0));
        let newest = TaskCursor(id_at(now.as_millis()));
        assert_eq!(filter.begins_below(Some(newest), now), Some(below));
        assert_eq!(TaskFilter::default().begins_below(None, now), None);
        let ages = TaskFilter { older_than: Some(Duration::MAX), ..Default::default() };
        assert!(ages.begins_below(None, now).is_some(), "no overflow");
    }

    #[test]
    fn cancelling_selects_queued_states_only() {
        let of = |states: &[ListedState]| {
            let states = states.iter().copied().collect();
            let queued = TaskFilter { states, ..Default::default() }.of_queued().states;
            queued.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(of(&[]), [ListedState::Queued, ListedState::Delayed]);
        assert_eq!(of(&[ListedState::Delayed, ListedState::Failed]), [ListedState::Delayed]);
        assert_eq!(of(&[ListedState::Processing]), []);
    }
}
