//! The broker on Redis (7.0 or newer, also Valkey): Streams, and one Lua script per operation.
//!
//! | file        | what it holds |
//! |-------------|---------------|
//! | `mod.rs`    | [`RedisBroker`], its options, how it is opened |
//! | `broker.rs` | the [`Broker`](crate::Broker) contract, each operation one script or one command |
//! | `submit.rs` | submit, and reading where a task stands |
//! | `claim.rs`  | claim: one script, and what happens between two tries |
//! | `lease.rs`  | renew, publish, finish, release |
//! | `reap.rs`   | cancel and reap |
//! | `read.rs`   | snapshot, expired, events, depth |
//! | `journal.rs`| ended tasks that nobody has logged |
//! | `workers.rs`| the registry of workers |
//! | `operations.rs`, `dead.rs` | the operators' side; dead letters |
//! | `webhooks.rs` | the deliverers' side |
//! | `waiting.rs`| blocking reads for claimants, on connections of their own |
//! | `listener.rs`| the one pub/sub connection |
//! | `link.rs`   | the pool for short commands, under a deadline |
//! | `keys.rs`   | every key |
//! | `scripts.rs`, `scripts/` | the scripts; `docs/QUEUE.md` has them in a table |
//! | `reply.rs`, `error.rs`, `backoff.rs` | reading replies, sorting errors, pausing |

mod backoff;
mod broker;
mod claim;
mod dead;
mod error;
mod journal;
mod keys;
mod lease;
mod link;
mod listener;
mod operations;
mod read;
mod reap;
mod reply;
mod scripts;
mod submit;
mod waiting;
mod webhooks;
mod workers;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use self::keys::Keys;
use self::link::Link;
use self::listener::Listener;
use self::scripts::Scripts;
use self::waiting::Waiting;
use crate::OpenError;
use crate::watch::Hub;

/// Where Redis is and how patient to be with it.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// `redis://[user:password@]host:port[/db]` or `unix:///path`.
    pub url: String,
    /// Most connections for short commands.
    pub pool_size: usize,
    /// How long a command may take, connecting included, before the queue counts as unavailable.
    pub command_timeout: Duration,
}

impl RedisOptions {
    /// The defaults: 16 connections, two seconds.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), pool_size: 16, command_timeout: Duration::from_secs(2) }
    }
}

/// The broker on Redis. Several processes share the queue by opening the same Redis.
pub struct RedisBroker {
    inner: Arc<Inner>,
}

/// What the operations work with; shared with claims that go on after their caller went away.
struct Inner {
    link: Link,
    keys: Keys,
    scripts: Scripts,
    waiting: Waiting,
    listener: Listener,
    hub: Arc<Hub>,
    /// Tasks claimed through this broker: whose lane's turn it is.
    turn: AtomicU64,
}

impl RedisBroker {
    /// Prepares the broker. Connects with the first operation, and again by itself whenever Redis
    /// was away: while it is, operations fail with
    /// [`BrokerError::Unavailable`](crate::BrokerError::Unavailable) within
    /// [`RedisOptions::command_timeout`].
    ///
    /// # Errors
    /// [`OpenError::RedisUrl`] for a URL that can't be one.
    pub fn connect(options: RedisOptions) -> Result<Self, OpenError> {
        let client = redis::Client::open(options.url.as_str())
            .map_err(|error| OpenError::RedisUrl { reason: error.to_string() })?;
        let (keys, hub) = (Keys::new(0), Hub::new());
        Ok(Self {
            inner: Arc::new(Inner {
                link: Link::new(&client, &options)?,
                scripts: Scripts::new(),
                waiting: Waiting::new(client.clone(), options.command_timeout),
                listener: Listener::new(client, keys.clone(), Arc::clone(&hub)),
                keys,
                hub,
                turn: AtomicU64::new(0),
            }),
        })
    }
}
