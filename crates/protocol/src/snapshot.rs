//! The broker's view of a task at one moment, and the metrics derived from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Attempt, Estimate, Lane, ModelId, Outcome, Task, TaskId, TaskState, TenantId, Timestamp, Usage,
    WorkerId,
};

/// What the broker keeps of a [`Task`] to the end of its outcome's time to live. The prompt, the
/// parameters and the form of the answer go when the outcome is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSummary {
    /// Its name.
    pub id: TaskId,
    /// Who may see it.
    pub tenant: TenantId,
    /// Which model was asked.
    pub model: ModelId,
    /// How urgent it is.
    #[serde(default)]
    pub lane: Lane,
    /// The client's own label for its end user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The client's own notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

impl From<&Task> for TaskSummary {
    fn from(task: &Task) -> Self {
        Self {
            id: task.id,
            tenant: task.tenant.clone(),
            model: task.model.clone(),
            lane: task.lane,
            user_id: task.user_id.clone(),
            metadata: task.metadata.clone(),
        }
    }
}

/// A task's current data.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskSnapshot {
    /// Whose it is, and for which model.
    pub task: TaskSummary,
    /// Where it is.
    pub state: TaskState,
    /// The latest attempt; 0 if there was none.
    pub attempt: Attempt,
    /// The worker of the latest attempt.
    pub worker: Option<WorkerId>,
    /// Whether cancellation was requested and the worker has not stopped yet.
    pub cancel_requested: bool,
    /// When the task was accepted.
    pub submitted_at: Timestamp,
    /// The time before which it is not started; `None` if it may start at once.
    pub run_at: Option<Timestamp>,
    /// The time by which it must be started, or it fails as expired; `None` if it has no deadline
    /// or was started.
    pub expires_at: Option<Timestamp>,
    /// When the latest attempt started.
    pub started_at: Option<Timestamp>,
    /// When the outcome was recorded.
    pub finished_at: Option<Timestamp>,
    /// The outcome, if the task has ended.
    pub outcome: Option<Outcome>,
    /// Its position and ETA while it is queued.
    pub estimate: Option<Estimate>,
}

impl TaskSnapshot {
    /// Returns the metrics, or `None` if the task has not ended.
    pub fn metrics(&self) -> Option<Metrics> {
        let (finished, outcome) = (self.finished_at?, self.outcome.as_ref()?);
        Some(Metrics::new(self.submitted_at, self.started_at, finished, outcome.usage()))
    }
}

/// The figures of an ended task: the six of the API's contract and later additions. Times are in
/// seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// From acceptance to the start of the last attempt.
    pub queue_wait_time: f64,
    /// From that start to the outcome.
    pub processing_time: f64,
    /// From acceptance to the outcome: the sum of the two.
    pub total_time: f64,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens generated.
    pub completion_tokens: u32,
    /// `completion_tokens / processing_time`; 0 if nothing was generated.
    pub tokens_per_second: f64,
    /// Tokens of the prompt that were found in the prefix cache.
    #[serde(default)]
    pub cached_tokens: u32,
    /// Generated tokens that are reasoning.
    #[serde(default)]
    pub reasoning_tokens: u32,
    /// Tokens that speculative decoding drafted and computed beside those generated.
    #[serde(default)]
    pub drafted_tokens: u32,
    /// Generated tokens that were drafted.
    #[serde(default)]
    pub accepted_tokens: u32,
}

impl Metrics {
    /// Derives the figures from the broker's three timestamps. If `started` is `None`, the task
    /// ended without a worker, and its whole time counts as waiting.
    pub fn new(
        submitted: Timestamp,
        started: Option<Timestamp>,
        finished: Timestamp,
        usage: Usage,
    ) -> Self {
        let started = started.unwrap_or(finished);
        let queue_wait_time = started.seconds_since(submitted);
        let processing_time = finished.seconds_since(started);
        let tokens = f64::from(usage.completion_tokens);
        // Avoids a division by zero: timestamps have a resolution of a millisecond.
        let tokens_per_second = tokens / processing_time.max(0.001);
        Self {
            queue_wait_time,
            processing_time,
            total_time: queue_wait_time + processing_time,
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            tokens_per_second,
            cached_tokens: usage.cached_tokens,
            reasoning_tokens: usage.reasoning_tokens,
            drafted_tokens: usage.drafted_tokens,
            accepted_tokens: usage.accepted_tokens,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_match_the_example_of_the_log_contract() {
        let at = Timestamp::from_millis;
        let usage = Usage {
            prompt_tokens: 50,
            completion_tokens: 200,
            cached_tokens: 32,
            ..Usage::default()
        };
        let metrics = Metrics::new(at(1_000), Some(at(3_300)), at(9_100), usage);
        assert_eq!(metrics.queue_wait_time, 2.3);
        assert_eq!(metrics.processing_time, 5.8);
        assert!((metrics.total_time - 8.1).abs() < 1e-9);
        assert_eq!(format!("{:.2}", metrics.tokens_per_second), "34.48");
        assert_eq!(metrics.cached_tokens, 32);
    }

    #[test]
    fn time_of_a_task_that_never_ran_counts_as_queue_wait() {
        let at = Timestamp::from_millis;
        let metrics = Metrics::new(at(0), None, at(1_500), Usage::default());
        assert_eq!((metrics.queue_wait_time, metrics.processing_time), (1.5, 0.0));
        assert_eq!(metrics.tokens_per_second, 0.0);
    }
}
