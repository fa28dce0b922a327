//! One partition of the queue: its keys, all in one slot, its link, and the scripts. Its operations are
//! in the files named after them: `submit.rs`, `lease.rs`, `claim.rs` and so on. `partitions.rs`
//! combines several partitions into one queue.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::RedisOptions;
use super::group::Group;
use super::keys::Keys;
use super::link::Link;
use super::requests::{Submit, Work};
use super::scripts::Scripts;
use super::server;
use super::servers::Servers;
use crate::written::Written;

/// After a failure, claims skip a partition for this many times as long as the failure took. So an
/// unresponsive server costs claims on the others at most a fifth of their time.
const SKIP: u32 = 4;

/// One partition.
pub(super) struct Partition {
    pub(super) keys: Keys,
    pub(super) link: Link,
    pub(super) scripts: Arc<Scripts>,
    /// The number of partitions: bounds and global counters are divided by it.
    pub(super) partitions: u32,
    /// The number of tasks claimed through this broker, which determines the lane whose turn it is.
    pub(super) turn: AtomicU64,
    /// Submits that wait for their call. One group per connection, so that the thread whose requests wait
    /// for a connection also drives it.
    submits: Vec<Arc<Group<Submit>>>,
    /// Outcomes and claims that wait for their call. One group, so that they share calls.
    pub(super) works: Arc<Group<Work>>,
    /// Tasks whose log lines are written but not yet acknowledged to Redis.
    pub(super) written: Written,
    /// After a failure, claims skip the partition until then if others answer.
    skipped_until: Mutex<Option<Instant>>,
}

impl Partition {
    /// Creates the `number`-th partition without opening a connection.
    pub(super) fn new(
        number: u32,
        servers: &Arc<Servers>,
        scripts: &Arc<Scripts>,
        options: &RedisOptions,
    ) -> Self {
        let (lines, limit) = (options.connections, options.command_timeout);
        Self {
            keys: Keys::new(&options.key_prefix, number),
            link: Link::new(Arc::clone(servers), number, limit),
            scripts: Arc::clone(scripts),
            partitions: options.partitions,
            turn: AtomicU64::new(0),
            submits: (0..lines.max(1)).map(|_| Group::new(limit)).collect(),
            works: Group::new(limit),
            written: Written::default(),
            skipped_until: Mutex::default(),
        }
    }

    /// Returns the group of this thread's submits.
    pub(super) fn submits(&self) -> &Arc<Group<Submit>> {
        &self.submits[server::thread() % self.submits.len()]
    }

    /// Returns whether claims should skip the partition for now.
    pub(super) fn is_skipped(&self) -> bool {
        let until = *self.skipped_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Starts skipping the partition, after a failure that took `took`.
    pub(super) fn skip_after(&self, took: Duration) {
        let until = Instant::now() + took * SKIP;
        *self.skipped_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// Extrapolates this partition's count to all partitions.
    pub(super) fn of_all(&self, counted: u64) -> u64 {
        counted.saturating_mul(u64::from(self.partitions))
    }

    /// Returns this partition's share of a bound on all partitions.
    pub(super) fn share(&self, bound: u64) -> u64 {
        bound.div_ceil(u64::from(self.partitions))
    }
}
