//! The stored forms of ids, times, counters and states.

use std::time::Duration;

use protocol::{TaskId, TaskState, Timestamp, WebhookForm, WebhookId, WorkerId};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use uuid::Uuid;

use crate::{ListedState, WebhookState};

/// A stored id: the bytes of its UUID.
pub(super) type Key = [u8; 16];

/// Returns a task's id in its stored form.
pub(super) fn key(id: TaskId) -> Key {
    id.as_uuid().into_bytes()
}

/// Returns the task's id of its stored form.
pub(super) fn task_id(key: Key) -> TaskId {
    Uuid::from_bytes(key).into()
}

/// Returns a webhook's id in its stored form.
pub(super) fn webhook_key(id: WebhookId) -> Key {
    id.as_uuid().into_bytes()
}

/// Returns the webhook's id of its stored form.
pub(super) fn webhook_id(key: Key) -> WebhookId {
    Uuid::from_bytes(key).into()
}

/// Returns a worker's id in its stored form.
pub(super) fn worker_key(id: WorkerId) -> Key {
    id.as_uuid().into_bytes()
}

/// Returns the worker's id of its stored form.
pub(super) fn worker_id(key: Key) -> WorkerId {
    Uuid::from_bytes(key).into()
}

/// Converts a time to SQLite's stored form.
pub(super) fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

/// Converts a span to SQLite's stored form.
pub(super) fn span_millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Converts a stored time.
pub(super) fn instant(millis: i64) -> Timestamp {
    Timestamp::from_millis(unsigned(millis))
}

/// Converts a stored counter. A negative one counts as 0.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Where a queued task waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spot {
    /// In the stream of its lane.
    Stream,
    /// In its tenant's backlog behind the stream.
    Backlog,
    /// Nowhere until it is due.
    Delayed,
}

/// A state that is stored by name, so that the file can be read without this code.
pub(super) trait Stored: Copy + 'static {
    const ALL: &'static [Self];

    fn name(self) -> &'static str;
}

impl Stored for WebhookForm {
    const ALL: &'static [Self] = &[Self::Task, Self::Response, Self::Job, Self::Prediction];

    fn name(self) -> &'static str {
        self.as_str()
    }
}

impl Stored for TaskState {
    const ALL: &'static [Self] =
        &[Self::Queued, Self::Processing, Self::Completed, Self::Failed, Self::Cancelled];

    fn name(self) -> &'static str {
        self.as_str()
    }
}

impl Stored for ListedState {
    const ALL: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        self.as_str()
    }
}

impl Stored for Spot {
    const ALL: &'static [Self] = &[Self::Stream, Self::Backlog, Self::Delayed];

    fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Backlog => "backlog",
            Self::Delayed => "delayed",
        }
    }
}

impl Stored for WebhookState {
    const ALL: &'static [Self] = &[Self::Waiting, Self::Pending, Self::Delivered, Self::GivenUp];

    fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::GivenUp => "given_up",
        }
    }
}

/// A column that holds the name of a state.
pub(super) struct Name<T>(pub(super) T);

impl<T: Stored> ToSql for Name<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.name()))
    }
}

impl<T: Stored> FromSql for Name<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let name = value.as_str()?;
        let found = T::ALL.iter().copied().find(|state| state.name() == name);
        found
            .map(Self)
            .ok_or_else(|| FromSqlError::Other(format!("'{name}' is not a state").into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trips<T: Stored + PartialEq + std::fmt::Debug>() {
        for state in T::ALL {
            let read: FromSqlResult<Name<T>> =
                Name::column_result(ValueRef::Text(state.name().as_bytes()));
            assert_eq!(read.unwrap().0, *state);
        }
        let unknown: FromSqlResult<Name<T>> = Name::column_result(ValueRef::Text(b"unheard of"));
        assert!(unknown.is_err());
    }

    #[test]
    fn states_round_trip_and_unknown_states_are_refused() {
        round_trips::<TaskState>();
        round_trips::<Spot>();
        round_trips::<WebhookState>();
    }

    #[test]
    fn ids_round_trip() {
        let (task, worker) = (TaskId::new(), WorkerId::new());
        assert_eq!((task_id(key(task)), worker_id(worker_key(worker))), (task, worker));
    }
}
