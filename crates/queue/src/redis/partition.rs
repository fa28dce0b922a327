//! One partition of the queue: its keys, all in one slot, the way to them, and the scripts. What it
//! does is in the files named after it: `submit.rs`, `lease.rs`, `claim.rs` and so on; how several
//! make one queue is `partitions.rs`' affair.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::RedisOptions;
use super::group::Group;
use super::keys::Keys;
use super::link::Link;
use super::scripts::Scripts;
use super::server;
use super::servers::Servers;
use super::submit::Submit;
use super::work::Work;
use crate::written::Written;

/// A partition rests from claims this many times as long as its failure took: so a server that
/// hangs costs the claims on the others a fifth of their time at most.
const REST: u32 = 4;

/// One partition.
pub(super) struct Partition {
    pub(super) keys: Keys,
    pub(super) link: Link,
    pub(super) scripts: Arc<Scripts>,
    /// How many there are: bounds, and what is counted of all, are divided by it.
    pub(super) partitions: u32,
    /// Tasks claimed through this broker: whose lane's turn it is.
    pub(super) turn: AtomicU64,
    /// Submits that wait for their call. One for each connection, so that it is driven by the thread whose
    /// requests wait for it.
    submits: Vec<Arc<Group<Submit>>>,
    /// Outcomes and claims that wait for theirs. One, so that they come together.
    pub(super) works: Arc<Group<Work>>,
    /// Tasks whose log lines are written, as Redis has yet to learn.
    pub(super) written: Written,
    /// Since a failure, claims leave it alone until then when others answer.
    rests_until: Mutex<Option<Instant>>,
}

impl Partition {
    /// The `number`-th of them. Opens no connection yet.
    pub(super) fn new(
        number: u32,
        servers: &Arc<Servers>,
        scripts: &Arc<Scripts>,
        options: &RedisOptions,
    ) -> Self {
        let (lines, limit) = (options.connections, options.command_timeout);
        Self {
            keys: Keys::new(number),
            link: Link::new(Arc::clone(servers), number, limit),
            scripts: Arc::clone(scripts),
            partitions: options.partitions,
            turn: AtomicU64::new(0),
            submits: (0..lines.max(1)).map(|_| Arc::default()).collect(),
            works: Arc::default(),
            written: Written::default(),
            rests_until: Mutex::default(),
        }
    }

    /// Where this thread's submits wait.
    pub(super) fn submits(&self) -> &Arc<Group<Submit>> {
        &self.submits[server::thread() % self.submits.len()]
    }

    /// Whether claims should leave it alone for now.
    pub(super) fn rests(&self) -> bool {
        let until = *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Lets it rest after a failure that took so long.
    pub(super) fn rest_after(&self, took: Duration) {
        let until = Instant::now() + took * REST;
        *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// A number that counts this partition's part, as it is likely to be for all of them.
    pub(super) fn of_all(&self, counted: u64) -> u64 {
        counted.saturating_mul(u64::from(self.partitions))
    }

    /// This partition's share of a bound on all of them.
    pub(super) fn share(&self, bound: u64) -> u64 {
        bound.div_ceil(u64::from(self.partitions))
    }
}
