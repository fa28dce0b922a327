//! Errors of operations and of opening a broker.

use std::path::PathBuf;

use protocol::{Attempt, ModelId, RecordError, TaskId};

use super::{Exhausted, causes};
use crate::Bound;

/// An operation's error.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The store can't be reached or refuses writes. Nothing was changed, or the reply was lost:
    /// repeating is safe.
    #[error("the queue is unavailable: {reason}")]
    Unavailable {
        /// The error of the store or the network.
        reason: String,
    },
    /// A limit on queued tasks is reached.
    #[error(
        "{}: {held} {} wait, {limit} are allowed; try again in {retry_after_s} s",
        bound.whose(model), bound.unit()
    )]
    QueueFull {
        /// The limit.
        bound: Bound,
        /// The task's model.
        model: ModelId,
        /// The amount queued.
        held: u64,
        /// The amount allowed.
        limit: u64,
        /// The seconds until room is likely, from recent processing times; 1 to 120.
        retry_after_s: u32,
    },
    /// A limit of the submit's charge has no room. Nothing was charged.
    #[error("{0}")]
    LimitReached(Box<Exhausted>),
    /// The idempotency key was used before for a request with another body.
    #[error("the idempotency key was used before with another body, for task {task_id}")]
    KeyReused {
        /// The task of the earlier request.
        task_id: TaskId,
    },
    /// The state of the periodic task, which is named, has another revision than the step says. Nothing was changed.
    #[error("the periodic task {0} was changed meanwhile: read its state again")]
    PeriodicChanged(String),
    /// The caller's lease is not the task's current one.
    #[error(
        "the lease on task {task_id} (attempt {attempt}) is lost: another attempt has begun or the task has ended"
    )]
    LeaseLost {
        /// The task.
        task_id: TaskId,
        /// The attempt of the caller's lease.
        attempt: Attempt,
    },
    /// A stored record can't be read by this version.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The store returned an unexpected answer: a bug, or data changed by another program.
    #[error("the queue's store answered unexpectedly: {0}")]
    Corrupt(String),
}

impl BrokerError {
    /// Returns the cause without addresses, users and folders, which the whole message may contain.
    pub fn public_cause(&self) -> &'static str {
        match self {
            Self::Unavailable { reason } => causes::public(reason),
            Self::QueueFull { .. } => "the queue is full",
            Self::LimitReached(_) => "a limit on use is reached",
            Self::KeyReused { .. } | Self::PeriodicChanged(_) | Self::LeaseLost { .. } => {
                "the request is out of date"
            }
            Self::Record(_) | Self::Corrupt(_) => "the queue's store answers unexpectedly",
        }
    }
}

/// An error of opening a broker. Retrying does not help: the operator must act.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The Redis URL is invalid.
    #[error(
        "the Redis URL can't be used: {reason}; expected redis[s]://[user:password@]host:port[/db], \
         or the URLs of several nodes of a Cluster, separated by commas, \
         or redis[s]+sentinel://[user:password@]host:26379,host2:26379/name-of-the-primary[/db]"
    )]
    RedisUrl {
        /// The reason why it is invalid.
        reason: String,
    },
    /// The CA certificates can't be used.
    #[error("the certificates in {} (REDIS_CA_FILE) can't be used: {reason}; expected PEM", path.display())]
    RedisCa {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The number of partitions is not allowed.
    #[error(
        "REDIS_PARTITIONS={given} is not allowed: it must be from 1 to {}",
        crate::redis::MAX_PARTITIONS
    )]
    Partitions {
        /// The configured number.
        given: u32,
    },
    /// The data folder can't be used.
    #[error("the data folder {} can't be used: {source}", path.display())]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The object store for blobs can't be used.
    #[error("the blobs in {url} (BLOB_URL) can't be used: {reason}")]
    ObjectStore {
        /// The URL, which has no credentials.
        url: String,
        /// The reason.
        reason: String,
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
        /// The file's schema number.
        found: i64,
        /// The newest schema number that this build supports.
        known: i64,
    },
    /// The queue's file can't be opened or is damaged.
    #[error("the queue in {} can't be opened: {reason}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// SQLite's error.
        reason: String,
    },
}
