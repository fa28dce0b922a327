//! Every Redis key and channel, built here alone (`scripts/lib/` derives the same names for keys
//! that only a script can know).
//!
//! All keys of a partition carry its number as hash tag, `qq:{0}:…`, so that they lie in one slot
//! and the scripts run on a Cluster.

use protocol::{Lane, ModelId, TaskId, TenantId};

/// The keys of one partition.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    base: String,
}

impl Keys {
    /// Of the `partition`-th partition.
    pub(crate) fn new(partition: u32) -> Self {
        Self { base: format!("qq:{{{partition}}}:") }
    }

    /// What all of them begin with; the first key of every script.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Text: how many partitions the queue has, and its layout. Used of the first partition.
    pub(crate) fn partitions(&self) -> String {
        format!("{}partitions", self.base)
    }

    /// Hash: a task. Text: one that has ended.
    pub(crate) fn task(&self, id: TaskId) -> String {
        format!("{}task:{id}", self.base)
    }

    /// List: those of a task's events that its hash does not tell.
    pub(crate) fn events(&self, id: TaskId) -> String {
        format!("{}events:{id}", self.base)
    }

    /// Stream: the queued tasks of a lane and model, but for those in backlogs.
    pub(crate) fn queue(&self, lane: Lane, model: &ModelId) -> String {
        format!("{}queue:{}:{model}", self.base, lane.as_str())
    }

    /// Hash: a model's counters and averages; `docs/QUEUE.md` lists them.
    pub(crate) fn stats(&self, model: &ModelId) -> String {
        format!("{}stats:{model}", self.base)
    }

    /// Text: the task that an idempotency key stands for, and the hash of its body.
    pub(crate) fn idempotency(&self, tenant: &TenantId, key: &str) -> String {
        format!("{}idem:{tenant}:{key}", self.base)
    }

    /// Hash: `bytes` of all queued tasks' records, and for each tenant how many of its tasks are queued.
    pub(crate) fn totals(&self) -> String {
        format!("{}totals", self.base)
    }

    /// Sorted set: processing tasks by the instant their lease runs out.
    pub(crate) fn leases(&self) -> String {
        format!("{}leases", self.base)
    }

    /// Hash: when the reapers came last, and until when they hold back.
    pub(crate) fn reaper(&self) -> String {
        format!("{}reaper", self.base)
    }

    /// Hash: workers' reports.
    pub(crate) fn workers(&self) -> String {
        format!("{}workers", self.base)
    }

    /// Sorted set: workers by the instant their report expires.
    pub(crate) fn seen(&self) -> String {
        format!("{}seen", self.base)
    }

    /// Hash: when each worker's report came.
    pub(crate) fn heard(&self) -> String {
        format!("{}heard", self.base)
    }

    /// Set: workers that operators want to drain.
    pub(crate) fn draining(&self) -> String {
        format!("{}draining", self.base)
    }

    /// Set: models that were ever submitted to or paused.
    pub(crate) fn models(&self) -> String {
        format!("{}models", self.base)
    }

    /// Sorted set: ended tasks whose log lines are owed, by the instant from which anybody may write them.
    pub(crate) fn unlogged(&self) -> String {
        format!("{}unlogged", self.base)
    }

    /// Hash: of those of them that are kept for a short time, what their lines are made of.
    pub(crate) fn unlogged_texts(&self) -> String {
        format!("{}unlogged:texts", self.base)
    }

    /// Sorted set: dead letters by the instant their tasks died.
    pub(crate) fn dead_letters(&self) -> String {
        format!("{}dead", self.base)
    }

    /// Hash: a dead letter, or which task its replay made.
    pub(crate) fn dead_letter(&self, id: TaskId) -> String {
        format!("{}dead:{id}", self.base)
    }

    /// Sorted set: webhooks to deliver by the instant they are due.
    pub(crate) fn hooks(&self) -> String {
        format!("{}hooks", self.base)
    }

    /// Hash: an ended task's webhook.
    pub(crate) fn hook(&self, id: TaskId) -> String {
        format!("{}hook:{id}", self.base)
    }

    /// Channel: ids of tasks that something happened to.
    pub(crate) fn changed(&self) -> String {
        format!("{}changed", self.base)
    }

    /// Channel: ids of running tasks that shall be cancelled.
    pub(crate) fn cancel(&self) -> String {
        format!("{}cancel", self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_carry_the_partitions_tag() {
        let keys = Keys::new(3);
        let (id, model) = (TaskId::new(), ModelId::new("Qwen/Qwen3-4B-GGUF:Q4_K_M"));
        assert_eq!(keys.queue(Lane::Low, &model), "qq:{3}:queue:low:Qwen/Qwen3-4B-GGUF:Q4_K_M");
        for key in [keys.task(id), keys.events(id), keys.stats(&model), keys.leases()] {
            assert!(key.starts_with("qq:{3}:"), "{key}");
        }
    }

    #[test]
    fn a_model_cannot_move_its_keys_to_another_slot() {
        // The tag is what stands in the first pair of braces, so braces in a name don't matter.
        let key = Keys::new(0).stats(&ModelId::new("a{b}c"));
        assert_eq!(key.find('{'), Some(3));
    }
}
