//! Identifiers as newtypes, so that ids of different kinds cannot be confused.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The text is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{given}' is not a valid {kind}: expected a UUID such as 0192f0c1-2345-7abc-8def-0123456789ab"
)]
pub struct InvalidId {
    /// The expected kind, e.g. `task_id`.
    pub kind: &'static str,
    /// The text, cut to 64 characters.
    pub given: String,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $new:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Creates a new, globally unique id.
            #[allow(clippy::new_without_default)] // a default that differs on every call misleads
            pub fn new() -> Self {
                Self($new)
            }

            /// Returns the UUID.
            pub fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId {
                    kind: $kind,
                    given: text.chars().take(64).collect(),
                })
            }
        }
    };
}

uuid_id!(
    /// Identifies a task. UUIDv7, so ids sort by the time of submission.
    TaskId,
    "task_id",
    Uuid::now_v7()
);

uuid_id!(
    /// Identifies a blob: an uploaded file, an image, the output of a batch. UUIDv7, so ids sort by the
    /// time of the upload.
    BlobId,
    "blob_id",
    Uuid::now_v7()
);

uuid_id!(
    /// Identifies a batch of requests. UUIDv7, so ids sort by the time of creation.
    BatchId,
    "batch_id",
    Uuid::now_v7()
);

uuid_id!(
    /// Identifies a webhook's delivery: its task's id, or that of the thing whose end it reports.
    WebhookId,
    "webhook_id",
    Uuid::now_v7()
);

impl From<TaskId> for WebhookId {
    fn from(id: TaskId) -> Self {
        Self(id.0)
    }
}

impl From<BatchId> for WebhookId {
    fn from(id: BatchId) -> Self {
        Self(id.0)
    }
}

uuid_id!(
    /// Identifies one run of a worker process. New at every start and never reused, so that a
    /// restarted worker is not mistaken for its predecessor.
    WorkerId,
    "worker_id",
    Uuid::new_v4()
);

/// The owner of an API key. Derived from the key's hash, so it can be stored and logged safely.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TenantId(String);

impl TenantId {
    /// Wraps a tenant's name, which the gateway derives from the key's hash.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of a task's delivery to a worker, from 1. Together with [`WorkerId`] it is a fencing
/// token: only the holder of the current (worker, attempt) may renew, finish or release a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempt(u32);

impl Attempt {
    /// The first delivery.
    pub const FIRST: Self = Self(1);

    /// The `n`-th delivery; 0 if there was none yet.
    pub const fn new(n: u32) -> Self {
        Self(n)
    }

    /// Returns the number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of an [`Event`](crate::Event) within its task, from 1 without gaps. 0 precedes the
/// first event, so the events after 0 are all events.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct EventSeq(u64);

impl EventSeq {
    /// The position before the first event.
    pub const START: Self = Self(0);

    /// The number `n`.
    pub const fn new(n: u64) -> Self {
        Self(n)
    }

    /// Returns the number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for EventSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_ids_sort_by_time_and_round_trip() {
        let (first, second) = (TaskId::new(), TaskId::new());
        assert!(first < second);
        assert_eq!(first.to_string().parse::<TaskId>().unwrap(), first);
    }

    #[test]
    fn an_error_about_a_malformed_id_quotes_at_most_64_characters() {
        let error = "x".repeat(1000).parse::<TaskId>().unwrap_err();
        assert_eq!(error.kind, "task_id");
        assert_eq!(error.given.len(), 64);
    }
}
