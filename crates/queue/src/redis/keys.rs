//! Builds every Redis key and channel. (`scripts/lib/` derives the same names for keys that only a
//! script can know.)
//!
//! All keys of a partition begin with the queue's prefix and the partition's number as hash tag, `qq:{0}:…`, so that
//! they are in one slot and the scripts run on a Cluster.

use protocol::{Lane, ModelId, TaskId, TenantId, WebhookId};

use super::prefix::KeyPrefix;
use crate::BlobPlace;

/// The keys of one partition.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    base: String,
}

impl Keys {
    /// Creates the keys of the `partition`-th partition of the queue with that prefix.
    pub(crate) fn new(prefix: &KeyPrefix, partition: u32) -> Self {
        Self { base: format!("{prefix}:{{{partition}}}:") }
    }

    /// Returns the beginning of all keys of the partition, which is the first key of every script.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Text: the queue's number of partitions and its layout. Only the first partition has it.
    pub(crate) fn partitions(&self) -> String {
        format!("{}partitions", self.base)
    }

    /// Hash: a task. Text: an ended task.
    pub(crate) fn task(&self, id: TaskId) -> String {
        format!("{}task:{id}", self.base)
    }

    /// List: a task's events that do not follow from its hash.
    pub(crate) fn events(&self, id: TaskId) -> String {
        format!("{}events:{id}", self.base)
    }

    /// Stream: the queued tasks of a lane and model, without those in backlogs.
    pub(crate) fn queue(&self, lane: Lane, model: &ModelId) -> String {
        format!("{}queue:{}:{model}", self.base, lane.as_str())
    }

    /// Hash: a model's counters and averages; `docs/QUEUE.md` lists them.
    pub(crate) fn stats(&self, model: &ModelId) -> String {
        format!("{}stats:{model}", self.base)
    }

    /// Text: the task of an idempotency key, and the hash of its body.
    pub(crate) fn idempotency(&self, tenant: &TenantId, key: &str) -> String {
        format!("{}idem:{tenant}:{key}", self.base)
    }

    /// Set: the days with usage. (`scripts/lib/settle.lua` lists the keys of usage.)
    pub(crate) fn usage_days(&self) -> String {
        format!("{}usage:days", self.base)
    }

    /// Hash: `bytes` of all queued tasks' records, and the number of queued tasks per tenant.
    pub(crate) fn totals(&self) -> String {
        format!("{}totals", self.base)
    }

    /// Sorted set: processing tasks by the expiry of their lease.
    pub(crate) fn leases(&self) -> String {
        format!("{}leases", self.base)
    }

    /// Hash: the time of the last reap, and the end of the hold.
    pub(crate) fn reaper(&self) -> String {
        format!("{}reaper", self.base)
    }

    /// Hash: workers' reports.
    pub(crate) fn workers(&self) -> String {
        format!("{}workers", self.base)
    }

    /// Sorted set: workers by the expiry of their report.
    pub(crate) fn seen(&self) -> String {
        format!("{}seen", self.base)
    }

    /// Hash: the time at which each worker's report was received.
    pub(crate) fn heard(&self) -> String {
        format!("{}heard", self.base)
    }

    /// Set: workers that operators ordered to drain.
    pub(crate) fn draining(&self) -> String {
        format!("{}draining", self.base)
    }

    /// Set: models that ever had a submit or a pause.
    pub(crate) fn models(&self) -> String {
        format!("{}models", self.base)
    }

    /// Sorted set: ended tasks with pending log lines, by the time from which any process may write them.
    pub(crate) fn unlogged(&self) -> String {
        format!("{}unlogged", self.base)
    }

    /// Hash: the texts for the log lines of those whose outcome expires soon.
    pub(crate) fn unlogged_texts(&self) -> String {
        format!("{}unlogged:texts", self.base)
    }

    /// Sorted set: dead letters by the time their tasks died.
    pub(crate) fn dead_letters(&self) -> String {
        format!("{}dead", self.base)
    }

    /// Hash: a dead letter, or the id of the task that its replay created.
    pub(crate) fn dead_letter(&self, id: TaskId) -> String {
        format!("{}dead:{id}", self.base)
    }

    /// Sorted set: webhooks to deliver by their due time.
    pub(crate) fn hooks(&self) -> String {
        format!("{}hooks", self.base)
    }

    /// Hash: the webhook of an ended task or of a notice.
    pub(crate) fn hook(&self, id: WebhookId) -> String {
        format!("{}hook:{id}", self.base)
    }

    /// Hash: the bytes of each tenant's blobs. (`scripts/lib/blobs.lua` lists the keys of blobs' records.)
    pub(crate) fn blob_totals(&self) -> String {
        format!("{}blobs:totals", self.base)
    }

    /// Sorted set: places of bytes to delete, each with its tenant, by the time from which.
    pub(crate) fn doomed_blobs(&self) -> String {
        format!("{}blobs:doomed", self.base)
    }

    /// Hash: the chunks of bytes at a place, by their number.
    pub(crate) fn chunks(&self, place: BlobPlace) -> String {
        format!("{}chunks:{place}", self.base)
    }

    /// Text: the number of changes of managed keys. (`scripts/lib/keys.lua` lists the keys of their records.)
    pub(crate) fn keys_version(&self) -> String {
        format!("{}keys:version", self.base)
    }

    /// Hash: the states of periodic tasks, by `<name>:<owner>`.
    pub(crate) fn periodic(&self) -> String {
        format!("{}periodic", self.base)
    }

    /// Text: a result for later tasks of a tenant. (`scripts/lib/results.lua` lists the keys of their records.)
    pub(crate) fn result(&self, key: &str, tenant: &TenantId) -> String {
        format!("{}result:{key} {tenant}", self.base)
    }

    /// Channel: ids of tasks that changed.
    pub(crate) fn changed(&self) -> String {
        format!("{}changed", self.base)
    }

    /// Channel: ids of running tasks whose cancellation was requested.
    pub(crate) fn cancel(&self) -> String {
        format!("{}cancel", self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_contain_the_partition_hash_tag() {
        let keys = Keys::new(&KeyPrefix::default(), 3);
        let (id, model) = (TaskId::new(), ModelId::new("Qwen/Qwen3-4B-GGUF:Q4_K_M"));
        assert_eq!(keys.queue(Lane::Low, &model), "qq:{3}:queue:low:Qwen/Qwen3-4B-GGUF:Q4_K_M");
        for key in [keys.task(id), keys.events(id), keys.stats(&model), keys.leases()] {
            assert!(key.starts_with("qq:{3}:"), "{key}");
        }
        let other = Keys::new(&"team:a".parse().unwrap(), 3);
        assert_eq!(other.leases(), "team:a:{3}:leases");
    }

    #[test]
    fn braces_in_a_model_name_do_not_change_the_hash_slot() {
        // The tag is the content of the first pair of braces, so braces in a name don't matter.
        let key = Keys::new(&KeyPrefix::default(), 0).stats(&ModelId::new("a{b}c"));
        assert_eq!(key.find('{'), Some(3));
    }
}
