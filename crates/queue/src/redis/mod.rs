//! The broker on Redis (7.0 or newer, also Valkey): Streams, and one call of a Lua script per operation or batch.
//!
//! | file        | contents |
//! |-------------|----------|
//! | `mod.rs`    | [`RedisBroker`], its options, and opening it |
//! | `broker.rs` | the [`Broker`](crate::Broker) contract, each operation one script or one command |
//! | `submit.rs` | submit, and reading a task's standing |
//! | `claim.rs`  | claim: the loop of tries and waits |
//! | `work.rs`   | finish and claim, in one script |
//! | `requests.rs` | requests that wait for the next call |
//! | `lease.rs`  | renew, publish, release |
//! | `group.rs`  | group commit: sends concurrent requests to Redis in one call |
//! | `reap.rs`   | cancel and reap |
//! | `read.rs`   | snapshot, expired, events, depth |
//! | `journal.rs`| ended tasks whose log lines are pending |
//! | `workers.rs`| the registry of workers |
//! | `operations.rs`, `dead.rs`, `listing.rs` | the operators' side; dead letters; the search for tasks |
//! | `webhooks.rs`, `hook.rs` | the deliverers' side; the stored form of a webhook |
//! | `batches.rs` | records of batches |
//! | `periodic.rs` | states of periodic tasks |
//! | `result_cache.rs` | results for later tasks |
//! | `metering.rs`, `charge.rs` | limits and usage; the texts of charges |
//! | `managed_keys.rs` | managed API keys, and the secrets of their owners |
//! | `blobs.rs`, `chunks.rs` | records of blobs; their bytes |
//! | `waiting.rs`| blocking reads for claimants, on separate connections |
//! | `listener.rs`| the single pub/sub connection |
//! | `partitions.rs`, `partition.rs` | the mapping of tasks to partitions; one partition |
//! | `link.rs`   | the route to a partition, under a deadline; redirections of a Cluster |
//! | `servers.rs`, `server.rs`, `pools.rs`, `address.rs` | the known servers; the connections to one, and its pool; where it is |
//! | `sentinel_url.rs`, `sentinels.rs` | the URL of a Redis with Sentinels; asking them for the primary |
//! | `vetting.rs`, `rights.rs` | checks of a server's permissions and configuration |
//! | `tls.rs`    | TLS settings for `rediss://` |
//! | `keys.rs`, `prefix.rs` | every key; the prefix of all keys |
//! | `scripts.rs`, `scripts/` | the scripts; `docs/QUEUE.md` has them in a table |
//! | `reply.rs`, `error.rs`, `backoff.rs` | parsing replies, classifying errors, backing off |

mod address;
mod backoff;
mod batches;
mod blobs;
mod broker;
mod charge;
mod chunks;
mod claim;
mod dead;
mod error;
mod group;
mod hook;
mod journal;
mod keys;
mod lease;
mod link;
mod listener;
mod listing;
mod managed_keys;
mod metering;
mod operations;
mod partition;
mod partitions;
mod periodic;
mod pools;
mod prefix;
mod read;
mod reap;
mod reply;
mod requests;
mod result_cache;
mod rights;
mod scripts;
mod sentinel_url;
mod sentinels;
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
pub use self::prefix::{KeyPrefix, KeyPrefixError};
pub use self::sentinel_url::SentinelUrl;
use self::servers::Servers;
pub use self::servers::urls;
use crate::OpenError;
use crate::watch::Hub;

/// The maximum number of partitions: a waiting claim has a connection to each.
pub const MAX_PARTITIONS: u32 = 64;

/// The address of Redis, and the limits of connections to it.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// `redis://[user:password@]host:port[/db]` or `unix:///path`; for a Redis Cluster several of
    /// its nodes, separated by commas. `rediss://` uses TLS. With Sentinels
    /// `redis+sentinel://[user:password@]host:port,host:port/primary[/db]`, whose credentials are those of Redis.
    pub url: String,
    /// The user at the Sentinels; `None` for their default user.
    pub sentinel_username: Option<String>,
    /// The password at the Sentinels, if they require one.
    pub sentinel_password: Option<String>,
    /// Certificates (PEM) to trust in TLS instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Connections for short commands, per server; an even number. Operations share them.
    pub connections: usize,
    /// The timeout of a command, including connecting, after which the queue counts as unavailable.
    pub command_timeout: Duration,
    /// The number of partitions of the queue, the same in all processes: 1 to [`MAX_PARTITIONS`]. On
    /// a Cluster each is on one node, so more than one spread the load.
    pub partitions: u32,
    /// The prefix of all keys and channels, the same in all processes of a queue.
    pub key_prefix: KeyPrefix,
    /// `true` if a server that evicts keys when its memory is full may be used.
    pub allow_eviction: bool,
}

impl RedisOptions {
    /// Returns the defaults: 8 connections, two seconds, one partition, the prefix `qq`, no eviction.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            sentinel_username: None,
            sentinel_password: None,
            ca_file: None,
            connections: 8,
            command_timeout: Duration::from_secs(2),
            partitions: 1,
            key_prefix: KeyPrefix::default(),
            allow_eviction: false,
        }
    }
}

/// The broker on Redis. Several processes share the queue by opening the same Redis.
pub struct RedisBroker {
    servers: Arc<Servers>,
    partitions: Arc<Partitions>,
    listener: Listener,
    hub: Arc<Hub>,
}

impl RedisBroker {
    /// Creates the broker. The first operation connects; later ones reconnect after Redis was
    /// unavailable. While it is, operations fail with
    /// [`BrokerError::Unavailable`](crate::BrokerError::Unavailable) within
    /// [`RedisOptions::command_timeout`].
    ///
    /// # Errors
    /// Returns [`OpenError::RedisUrl`] for an invalid URL, [`OpenError::RedisCa`] for certificates
    /// that can't be used, and [`OpenError::Partitions`] for a number of partitions out of range.
    pub fn connect(options: RedisOptions) -> Result<Self, OpenError> {
        if !(1..=MAX_PARTITIONS).contains(&options.partitions) {
            return Err(OpenError::Partitions { given: options.partitions });
        }
        let (servers, hub) = (Servers::new(&options)?, Hub::new());
        Ok(Self {
            partitions: Arc::new(Partitions::new(&options, &servers)),
            listener: Listener::new(Arc::clone(&servers), &options, Arc::clone(&hub)),
            servers,
            hub,
        })
    }
}
