//! The broker on Redis (7.0 or newer, also Valkey): Streams, and Lua scripts, one call an operation or a batch of them.
//!
//! | file        | what it holds |
//! |-------------|---------------|
//! | `mod.rs`    | [`RedisBroker`], its options, how it is opened |
//! | `broker.rs` | the [`Broker`](crate::Broker) contract, each operation one script or one command |
//! | `submit.rs` | submit, and reading where a task stands |
//! | `claim.rs`  | claim: what happens between two tries |
//! | `work.rs`   | finish and claim, in one script |
//! | `lease.rs`  | renew, publish, release |
//! | `group.rs`  | what comes at once goes to Redis in one call |
//! | `reap.rs`   | cancel and reap |
//! | `read.rs`   | snapshot, expired, events, depth |
//! | `journal.rs`| ended tasks whose log lines are owed |
//! | `workers.rs`| the registry of workers |
//! | `operations.rs`, `dead.rs` | the operators' side; dead letters |
//! | `webhooks.rs` | the deliverers' side |
//! | `waiting.rs`| blocking reads for claimants, on connections of their own |
//! | `listener.rs`| the one pub/sub connection |
//! | `partitions.rs`, `partition.rs` | which partition has a task; what one is made of |
//! | `link.rs`   | the way to a partition, under a deadline; redirections of a Cluster |
//! | `servers.rs`, `server.rs` | the servers that are known; the connections to one |
//! | `vetting.rs`, `rights.rs` | whether a server lets the queue do what it must, and is set up for it |
//! | `tls.rs`    | what `rediss://` needs |
//! | `keys.rs`   | every key |
//! | `scripts.rs`, `scripts/` | the scripts; `docs/QUEUE.md` has them in a table |
//! | `reply.rs`, `error.rs`, `backoff.rs` | reading replies, sorting errors, pausing |

mod backoff;
mod broker;
mod claim;
mod dead;
mod error;
mod group;
mod journal;
mod keys;
mod lease;
mod link;
mod listener;
mod operations;
mod partition;
mod partitions;
mod read;
mod reap;
mod reply;
mod rights;
mod scripts;
mod server;
mod servers;
mod submit;
mod tls;
mod vetting;
mod waiting;
mod webhooks;
mod work;
mod workers;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use self::listener::Listener;
use self::partitions::Partitions;
use self::servers::Servers;
pub use self::servers::urls;
use crate::OpenError;
use crate::watch::Hub;

/// At most so many partitions: a claim that waits has a connection to each.
pub const MAX_PARTITIONS: u32 = 64;

/// Where Redis is and how patient to be with it.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// `redis://[user:password@]host:port[/db]` or `unix:///path`; for a Redis Cluster several of
    /// its nodes, separated by commas. `rediss://` asks for TLS.
    pub url: String,
    /// Certificates (PEM) to trust in TLS instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Connections for short commands, to each server. Operations share them.
    pub connections: usize,
    /// How long a command may take, connecting included, before the queue counts as unavailable.
    pub command_timeout: Duration,
    /// Into how many partitions the queue is divided: the same number in all processes, 1 to
    /// [`MAX_PARTITIONS`]. On a Cluster each has one node, so more than one spread the load.
    pub partitions: u32,
    /// Whether a server that evicts keys when its memory is full may be used all the same.
    pub allow_eviction: bool,
}

impl RedisOptions {
    /// The defaults: 4 connections, two seconds, one partition, no eviction.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ca_file: None,
            connections: 4,
            command_timeout: Duration::from_secs(2),
            partitions: 1,
            allow_eviction: false,
        }
    }
}

/// The broker on Redis. Several processes share the queue by opening the same Redis.
pub struct RedisBroker {
    servers: Arc<Servers>,
    partitions: Partitions,
    listener: Listener,
    hub: Arc<Hub>,
}

impl RedisBroker {
    /// Prepares the broker. Connects with the first operation, and again by itself whenever Redis
    /// was away: while it is, operations fail with
    /// [`BrokerError::Unavailable`](crate::BrokerError::Unavailable) within
    /// [`RedisOptions::command_timeout`].
    ///
    /// # Errors
    /// [`OpenError::RedisUrl`] for a URL that can't be one, [`OpenError::RedisCa`] for certificates
    /// that can't be used, [`OpenError::Partitions`] for a number
    /// of partitions out of range.
    pub fn connect(options: RedisOptions) -> Result<Self, OpenError> {
        if !(1..=MAX_PARTITIONS).contains(&options.partitions) {
            return Err(OpenError::Partitions { given: options.partitions });
        }
        let (servers, hub) = (Servers::new(&options)?, Hub::new());
        Ok(Self {
            partitions: Partitions::new(&options, &servers),
            listener: Listener::new(Arc::clone(&servers), options.partitions, Arc::clone(&hub)),
            servers,
            hub,
        })
    }
}
