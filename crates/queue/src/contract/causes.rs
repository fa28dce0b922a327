//! Causes of unavailability that brokers put into their reasons and that may be shown to anyone. A
//! whole reason may contain addresses, users and folders, so it may only be logged.

/// The cause if the store does not answer.
pub const NO_ANSWER: &str = "the queue does not answer";

/// Causes of the Redis broker.
pub(crate) const MEMORY: &str = "it is out of memory (maxmemory is reached)";
pub(crate) const DISK: &str = "it can't write to its disk and refuses changes";
pub(crate) const REPLICA: &str = "it is a read-only replica";
pub(crate) const REPLICAS: &str = "it has too few replicas (min-replicas-to-write)";
pub(crate) const LOADING: &str = "it is loading its data after a start";
pub(crate) const RIGHTS: &str = "lacks rights that the queue needs";
pub(crate) const EVICTS: &str = "it evicts";
/// Causes of the embedded queue.
pub(crate) const UNWRITABLE: &str = "the disk is full, or can't be written";
pub(crate) const VANISHED: &str = "its database was deleted, moved or replaced while in use";

/// Returns the part of a reason that may be shown to anyone.
pub(super) fn public(reason: &str) -> &'static str {
    let causes = [
        (MEMORY, "the queue's Redis is out of memory (maxmemory is reached)"),
        (DISK, "the queue's Redis can't write to its disk and refuses changes"),
        (REPLICA, "the queue's Redis is a read-only replica"),
        (REPLICAS, "the queue's Redis has too few replicas (min-replicas-to-write)"),
        (LOADING, "the queue's Redis is loading its data after a start"),
        (RIGHTS, "the queue's Redis user lacks rights that the queue needs"),
        (EVICTS, "the queue's Redis is set up to evict tasks (maxmemory-policy)"),
        (UNWRITABLE, "the queue's disk is full, or can't be written (DATA_DIR)"),
        (VANISHED, "the queue's database was deleted, moved or replaced while in use (DATA_DIR)"),
    ];
    let known = causes.iter().find(|(words, _)| reason.contains(words));
    known.map_or(NO_ANSWER, |(_, public)| public)
}
