//! Combines several partitions into one queue: maps tasks to partitions and merges their replies.

use std::borrow::Cow;
use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fnv::FnvHasher;
use protocol::{Task, TaskId, TenantId};
use uuid::Uuid;

use super::RedisOptions;
use super::partition::Partition;
use super::prefix::KeyPrefix;
use super::reply::Reply;
use super::scripts::Scripts;
use super::servers::Servers;
use crate::{BlobPlace, BrokerError, SubmitOptions};

/// The version of the keys and their contents. A change that an earlier build could not read, or that
/// could not read what an earlier build wrote, increments it.
const LAYOUT: u32 = 4;

/// All partitions of a queue.
pub(super) struct Partitions {
    list: Vec<Arc<Partition>>,
    /// The prefix of all keys.
    prefix: KeyPrefix,
    /// `true` if Redis was found to have the same number of partitions and the same layout.
    agreed: AtomicBool,
    /// The number of tasks claimed through this broker, which determines the next partition's turn.
    turn: AtomicUsize,
}

impl Partitions {
    /// Creates the partitions without opening a connection.
    pub(super) fn new(options: &RedisOptions, servers: &Arc<Servers>) -> Self {
        let count = options.partitions;
        let scripts = Arc::new(Scripts::new(count));
        let partition = |number| Partition::new(number, servers, &scripts, options);
        Self {
            list: (0..count).map(partition).map(Arc::new).collect(),
            prefix: options.key_prefix.clone(),
            agreed: AtomicBool::new(false),
            turn: AtomicUsize::new(0),
        }
    }

    /// Returns all partitions, after checking that Redis has as many, with the same layout.
    pub(super) async fn all(&self) -> Result<&[Arc<Partition>], BrokerError> {
        if !self.agreed.load(Ordering::Relaxed) {
            self.agree().await?;
        }
        Ok(&self.list)
    }

    /// Returns the partition of a task.
    pub(super) async fn of(&self, id: TaskId) -> Result<&Arc<Partition>, BrokerError> {
        Ok(&self.all().await?[self.place(id.as_uuid().as_bytes())])
    }

    /// Returns the partition of a tenant's blobs, meters and periodic tasks.
    pub(super) async fn of_tenant(
        &self,
        tenant: &TenantId,
    ) -> Result<&Arc<Partition>, BrokerError> {
        Ok(&self.all().await?[self.place(tenant.as_str().as_bytes())])
    }

    /// Returns the first partition, which has the managed keys.
    pub(super) async fn first(&self) -> Result<&Arc<Partition>, BrokerError> {
        Ok(&self.all().await?[0])
    }

    /// Returns the partition of the bytes at a place.
    pub(super) async fn of_place(&self, place: BlobPlace) -> Result<&Arc<Partition>, BrokerError> {
        Ok(&self.all().await?[self.place(place.as_uuid().as_bytes())])
    }

    /// Returns the partition of a task without checking the layout, which the caller knows to match.
    pub(super) fn of_known(&self, id: TaskId) -> &Partition {
        &self.list[self.place(id.as_uuid().as_bytes())]
    }

    /// Returns the partition for a new task, and the task under an id of that partition. A task with limits, or of a
    /// periodic task, goes to its tenant's partition, which has the tenant's meters and states; another one with an idempotency key to the key's, so
    /// that repetitions are found. Then its id changes, deterministically.
    pub(super) async fn for_new<'a>(
        &self,
        task: &'a Task,
        options: &SubmitOptions,
    ) -> Result<(&Arc<Partition>, Cow<'a, Task>), BrokerError> {
        let list = self.all().await?;
        let own = self.place(task.id.as_uuid().as_bytes());
        let is_of_tenant = !options.charge.meters().is_empty() || options.step.is_some();
        let place = match &options.idempotency {
            _ if is_of_tenant => self.place(task.tenant.as_str().as_bytes()),
            Some(by) => self.place(format!("{}:{}", task.tenant, by.key).as_bytes()),
            None => own,
        };
        let task = if place == own {
            Cow::Borrowed(task)
        } else {
            Cow::Owned(Task { id: self.id_like(task.id, place)?, ..task.clone() })
        };
        Ok((&list[place], task))
    }

    /// Returns all partitions, each with those of the given tasks that it has.
    pub(super) async fn group(
        &self,
        ids: &[TaskId],
    ) -> Result<Vec<(&Partition, Vec<TaskId>)>, BrokerError> {
        let list = self.all().await?;
        let mut groups: Vec<_> = list.iter().map(|part| (&**part, Vec::new())).collect();
        for id in ids {
            groups[self.place(id.as_uuid().as_bytes())].1.push(*id);
        }
        Ok(groups)
    }

    /// Returns all partitions, starting with the one whose turn it is.
    pub(super) async fn in_turn(
        &self,
    ) -> Result<impl Iterator<Item = (usize, &Arc<Partition>)>, BrokerError> {
        let list = self.all().await?;
        let first = self.turn.load(Ordering::Relaxed) % list.len();
        Ok((0..list.len()).map(move |nth| (first + nth) % list.len()).map(|n| (n, &list[n])))
    }

    /// Advances the turn to the next partition after a claim.
    pub(super) fn took(&self, place: usize) {
        self.turn.store(place + 1, Ordering::Relaxed);
    }

    /// Gives the turn to a partition that has received a task.
    pub(super) fn start_at(&self, place: usize) {
        self.turn.store(place, Ordering::Relaxed);
    }

    /// Ensures that all processes use the first one's number of partitions and layout. The first
    /// partition is the same whatever the number.
    pub(super) async fn agree(&self) -> Result<(), BrokerError> {
        let Partition { keys, link, scripts, .. } = &*self.list[0];
        let own = self.list.len();
        let mut call = scripts.agree.prepare_invoke();
        call.key(keys.base()).key(keys.partitions()).arg(own).arg(LAYOUT);
        let mut reply = Reply::new("agree", link.run(&call).await?);
        let (remembered, layout) = (reply.parse::<usize>()?, reply.parse::<u32>()?);
        self.agreed.store((remembered, layout) == (own, LAYOUT), Ordering::Relaxed);
        let reason = if layout != LAYOUT {
            format!(
                "the queue in Redis was laid out by another build (layout {layout}, this build's is \
                 {LAYOUT}): let that build run it empty and collect its results, stop all gateways and \
                 workers, and delete the keys that begin with {}: (FLUSHDB, if nothing else is there); \
                 or give this build keys of its own with another REDIS_KEY_PREFIX",
                self.prefix
            )
        } else if remembered != own {
            format!(
                "the queue in Redis is divided into {remembered} partitions and REDIS_PARTITIONS \
                 is {own}: set REDIS_PARTITIONS={remembered}; or, to divide it anew, let it run \
                 empty, stop all gateways and workers, delete the key {}, and start them with \
                 REDIS_PARTITIONS={own}",
                keys.partitions()
            )
        } else {
            return Ok(());
        };
        Err(BrokerError::Unavailable { reason })
    }

    fn place(&self, name: &[u8]) -> usize {
        (hash(name) % self.list.len() as u64) as usize
    }

    /// Returns an id derived from another that maps to the partition at `place`: the same time, so that
    /// it sorts alike, and other random bits, the same ones for the same id.
    fn id_like(&self, id: TaskId, place: usize) -> Result<TaskId, BrokerError> {
        let mut bytes = id.as_uuid().into_bytes();
        // Each try succeeds with probability one in the number of partitions.
        for _ in 0..self.list.len() * 1_000 {
            // The last six bytes are random; version and variant precede them.
            let random = hash(&bytes).to_be_bytes();
            bytes[10..].copy_from_slice(&random[2..]);
            if self.place(&bytes) == place {
                return Ok(Uuid::from_bytes(bytes).into());
            }
        }
        Err(BrokerError::Corrupt(format!("no id similar to {id} belongs to partition {place}")))
    }
}

/// Returns the replies if all partitions replied, else the first error.
pub(super) fn all<T>(answers: Vec<Result<T, BrokerError>>) -> Result<Vec<T>, BrokerError> {
    answers.into_iter().collect()
}

/// Returns the replies of the partitions that replied, or the first error if none did. For repeated
/// operations, so that an unavailable partition does not delay the others.
pub(super) fn some<T>(
    what: &'static str,
    answers: Vec<Result<T, BrokerError>>,
) -> Result<Vec<T>, BrokerError> {
    let mut given = Vec::with_capacity(answers.len());
    let mut failure = None;
    for answer in answers {
        match answer {
            Ok(answer) => given.push(answer),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match failure {
        Some(error) if given.is_empty() => return Err(error),
        Some(error) => tracing::debug!(%error, "{what}: a partition did not answer"),
        None => {}
    }
    Ok(given)
}

/// FNV-1a, 64 bit. It must never change, since it determines where tasks are stored.
fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = FnvHasher::default();
    hasher.write(bytes);
    let mixed = hasher.finish();
    // The low bits of the hash depend only on the low bits of the bytes; mix in the high ones, since
    // the number of partitions may be even.
    mixed ^ (mixed >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partitions(count: u32) -> Partitions {
        let options = RedisOptions { partitions: count, ..RedisOptions::new("redis://nowhere") };
        let servers = Servers::new(&options).unwrap();
        Partitions::new(&options, &servers)
    }

    #[test]
    fn partition_hash_is_stable() {
        let known: TaskId = "0192f0c1-2345-7abc-8def-0123456789ab".parse().unwrap();
        let places: Vec<_> =
            [1, 2, 3, 16].map(|count| partitions(count).place(known.as_uuid().as_bytes())).to_vec();
        assert_eq!(places, [0, 1, 1, 1], "tasks that are stored would not be found again");
    }

    #[tokio::test]
    async fn tasks_are_distributed_evenly_over_partitions() {
        for count in [2, 3, 8] {
            let partitions = partitions(count);
            let mut held = vec![0; count as usize];
            for _ in 0..8_000 {
                held[partitions.place(TaskId::new().as_uuid().as_bytes())] += 1;
            }
            let even = 8_000 / count as i32;
            assert!(held.iter().all(|held: &i32| (held - even).abs() < even / 5), "{held:?}");
        }
    }

    #[tokio::test]
    async fn id_remapping_is_deterministic_and_keeps_the_uuid_v7_timestamp() {
        let partitions = partitions(64);
        let id = TaskId::new();
        for place in 0..64 {
            let moved = partitions.id_like(id, place).unwrap();
            assert_eq!(partitions.place(moved.as_uuid().as_bytes()), place);
            assert_eq!(moved, partitions.id_like(id, place).unwrap());
            let (before, after) = (id.as_uuid(), moved.as_uuid());
            assert_eq!(after.get_version_num(), 7);
            assert_eq!(after.get_variant(), uuid::Variant::RFC4122);
            assert_eq!(after.as_bytes()[..10], before.as_bytes()[..10]);
        }
    }
}
