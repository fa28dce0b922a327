//! `llm_requests.log` and `errors.log`: one line, and for a failure one block, per ended task.

use std::fmt;
use std::io::Write;

use protocol::{Metrics, Outcome, TaskId};
use time::OffsetDateTime;
use tracing_appender::non_blocking::NonBlocking;

use super::format;

/// An ended task, as the logs see it.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    /// The task.
    pub task_id: TaskId,
    /// Its end.
    pub outcome: &'a Outcome,
    /// Its figures.
    pub metrics: Metrics,
}

/// Writes the two files. Whoever records a task's outcome calls it, once.
#[derive(Clone)]
pub struct TaskLog {
    requests: NonBlocking,
    errors: NonBlocking,
}

impl TaskLog {
    pub(super) fn new(requests: NonBlocking, errors: NonBlocking) -> Self {
        Self { requests, errors }
    }

    /// Writes down the end of a task.
    pub fn ended(&self, ended: Ended<'_>) {
        let now = OffsetDateTime::now_utc();
        let Ended { task_id, outcome, metrics } = ended;
        let line = format::request_line(now, task_id, outcome, &metrics);
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
