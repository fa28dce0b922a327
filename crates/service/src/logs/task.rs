//! `llm_requests.log` and `errors.log`: one line, and for a failure one block, per ended task.

use std::fmt;
use std::io::Write;

use protocol::{Metrics, Outcome, TaskId, TaskSnapshot, Timestamp};
use queue::Claimed;
use time::OffsetDateTime;
use tracing_appender::non_blocking::NonBlocking;

use super::format;

/// Writes the two files. A worker that records an outcome calls it once; ends that no worker records
/// are the queue's journal's ([`crate::reaper`]).
#[derive(Clone)]
pub struct TaskLog {
    requests: NonBlocking,
    errors: NonBlocking,
}

impl TaskLog {
    pub(super) fn new(requests: NonBlocking, errors: NonBlocking) -> Self {
        Self { requests, errors }
    }

    /// Writes down the end of a task, if it has one.
    pub fn ended(&self, snapshot: &TaskSnapshot) {
        if let (Some(outcome), Some(metrics)) = (&snapshot.outcome, snapshot.metrics()) {
            self.write(snapshot.task.id, outcome, &metrics);
        }
    }

    /// Writes down the end that the holder of a task recorded `at` this instant. Answers its figures.
    pub fn finished(&self, claimed: &Claimed, outcome: &Outcome, at: Timestamp) -> Metrics {
        let started = Some(claimed.started_at);
        let metrics = Metrics::new(claimed.submitted_at, started, at, outcome.usage());
        self.write(claimed.task.id, outcome, &metrics);
        metrics
    }

    fn write(&self, task_id: TaskId, outcome: &Outcome, metrics: &Metrics) {
        let now = OffsetDateTime::now_utc();
        let line = format::request_line(now, task_id, outcome, metrics);
        let mut written = self.requests.clone().write_all(line.as_bytes());
        if let Outcome::Failed(error) = outcome {
            let block = format::error_block(now, task_id, error);
            written = written.and(self.errors.clone().write_all(block.as_bytes()));
        }
        if let Err(error) = written {
            tracing::error!(target: "service.logs", %task_id, "the task logs can't be written: {error}");
        }
    }
}

impl fmt::Debug for TaskLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskLog")
    }
}
