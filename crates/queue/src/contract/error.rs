//! Why a broker did not do as asked, or could not be opened.

use std::path::PathBuf;

use protocol::{Attempt, ModelId, RecordError, TaskId};

use super::causes;
use crate::Bound;

/// Why a broker did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The store can't be reached or refuses to write now. Nothing was changed, or the reply was lost:
    /// repeating is safe.
    #[error("the queue is unavailable: {reason}")]
    Unavailable {
        /// What the store or the network said.
        reason: String,
    },
    /// A bound on what may be queued is reached.
    #[error(
        "{}: {held} {} wait, {limit} are allowed; try again in {retry_after_s} s",
        bound.whose(model), bound.unit()
    )]
    QueueFull {
        /// Which bound.
        bound: Bound,
        /// What the task asked for.
        model: ModelId,
        /// How much is queued.
        held: u64,
        /// How much may be queued.
        limit: u64,
        /// When room is likely, from recent processing times; 1 to 120.
        retry_after_s: u32,
    },
    /// The idempotency key was used before, for a request with another body.
    #[error("the idempotency key was used before with another body, for task {task_id}")]
    KeyReused {
        /// The task that it stands for.
        task_id: TaskId,
    },
    /// The caller's lease is not the task's current one.
    #[error(
        "the lease on task {task_id} (attempt {attempt}) is lost: another attempt has begun or the task has ended"
    )]
    LeaseLost {
        /// The task.
        task_id: TaskId,
        /// The delivery the caller thought it had.
        attempt: Attempt,
    },
    /// A stored record can't be read by this version.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The store answered what it never should: a bug, or a foreign hand in the data.
    #[error("the queue's store answered unexpectedly: {0}")]
    Corrupt(String),
}

impl BrokerError {
    /// The cause in words for anybody: without addresses, users and folders, which the whole text may name.
    pub fn public_cause(&self) -> &'static str {
        match self {
            Self::Unavailable { reason } => causes::public(reason),
            Self::QueueFull { .. } => "the queue is full",
            Self::KeyReused { .. } | Self::LeaseLost { .. } => "the request is out of date",
            Self::Record(_) | Self::Corrupt(_) => "the queue's store answers unexpectedly",
        }
    }
}

/// Why a broker could not be opened. Waiting does not help: the operator must act.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL of Redis can't be one.
    #[error(
        "the Redis URL can't be used: {reason}; expected redis[s]://[user:password@]host:port[/db], \
         or several of a Cluster's nodes so, separated by commas"
    )]
    RedisUrl {
        /// What is wrong with it.
        reason: String,
    },
    /// The certificates to trust can't be used.
    #[error("the certificates in {} (REDIS_CA_FILE) can't be used: {reason}; expected PEM", path.display())]
    RedisCa {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The queue can't be divided so.
    #[error(
        "{given} partitions are not possible: 1 to {} are allowed",
        crate::redis::MAX_PARTITIONS
    )]
    Partitions {
        /// What was asked for.
        given: u32,
    },
    /// The data folder can't be used.
    #[error("the data folder {} can't be used: {source}", path.display())]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process has the queue open.
    #[error(
        "another process uses the queue in {}: stop it, or choose another folder with DATA_DIR; \
         to share a queue between processes use Redis (REDIS_URL)",
        path.display()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A newer version wrote the queue's file.
    #[error(
        "the queue in {} was written by a newer version (schema {found}, this build knows {known}): \
         run the newer version, or choose another folder with DATA_DIR",
        path.display()
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its schema's number.
        found: i64,
        /// The newest number that this build knows.
        known: i64,
    },
    /// The queue's file can't be opened or is damaged.
    #[error("the queue in {} can't be opened: {reason}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        reason: String,
    },
}
