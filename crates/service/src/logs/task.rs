//! `llm_requests.log` and `errors.log`: one line, and for a failure one block, per ended task.
//!
//! The queue knows which lines are owed ([`queue::LINE_SPAN`]). It hears that one is written when it is in the
//! file, so that a process that is killed before leaves it to the next.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use protocol::{Metrics, Outcome, TaskId, TaskSnapshot, Timestamp};
use queue::{Broker, Claimed, LINE_SPAN, Unlogged};
use time::OffsetDateTime;

use super::lines::{Entry, Lines};
use super::{format, lookup};

/// Writes the two files.
#[derive(Clone)]
pub struct TaskLog {
    dir: Arc<Path>,
    lines: Lines,
}

impl TaskLog {
    pub(super) fn new(dir: &Path, lines: Lines) -> Self {
        Self { dir: dir.into(), lines }
    }

    /// Writes down the end that the holder of a task recorded `at` this instant of the queue's, having sent it
    /// first at `sent`. Returns its figures.
    pub fn finished(
        &self,
        broker: &Arc<dyn Broker>,
        claimed: &Claimed,
        outcome: &Outcome,
        at: Timestamp,
        sent: Instant,
    ) -> Metrics {
        let started = Some(claimed.started_at);
        let metrics = Metrics::new(claimed.submitted_at, started, at, outcome.usage());
        self.write(broker, claimed.task.id, outcome, &metrics, sent);
        metrics
    }

    /// Writes down an end, if it is one, whose line is the caller's to write since `since`.
    pub fn ended(&self, broker: &Arc<dyn Broker>, end: &TaskSnapshot, since: Instant) {
        if let (Some(outcome), Some(metrics)) = (&end.outcome, end.metrics()) {
            self.write(broker, end.task.id, outcome, &metrics, since);
        }
    }

    /// Writes down ends that the queue's journal handed out after it was asked at `asked`, but for those whose
    /// lines are in these files already. Returns when they are in the files.
    pub async fn take_over(&self, broker: &Arc<dyn Broker>, due: &[Unlogged], asked: Instant) {
        let ids = due.iter().filter(|due| due.perhaps_written.is_some());
        let ids: HashSet<TaskId> = ids.map(|due| due.end.task.id).collect();
        let oldest = due.iter().filter_map(|due| due.perhaps_written).max().unwrap_or_default();
        let dir = Arc::clone(&self.dir);
        let look = move || lookup::written(&dir, &ids, OffsetDateTime::now_utc() - oldest);
        // When it can't be told, a line too many is better than one too few.
        let written = tokio::task::spawn_blocking(look).await.unwrap_or_default();
        for Unlogged { end, .. } in due {
            if written.contains(&end.task.id) {
                broker.note_logged(end.task.id);
            } else {
                self.ended(broker, end, asked);
            }
        }
        self.flushed().await;
    }

    /// Returns when all that was written down before is in the files, or can't be.
    pub async fn flushed(&self) {
        self.lines.flushed().await;
    }

    fn write(
        &self,
        broker: &Arc<dyn Broker>,
        task_id: TaskId,
        outcome: &Outcome,
        metrics: &Metrics,
        since: Instant,
    ) {
        let now = OffsetDateTime::now_utc();
        let block = match outcome {
            Outcome::Failed(error) => format::error_block(now, task_id, error),
            Outcome::Completed(_) | Outcome::Cancelled => String::new(),
        };
        let broker = Arc::clone(broker);
        self.lines.send(Entry {
            line: format::request_line(now, task_id, outcome, metrics),
            block,
            // Past that, somebody else may be about to write it.
            until: since + LINE_SPAN / 2,
            written: Box::new(move || broker.note_logged(task_id)),
        });
    }
}

impl fmt::Debug for TaskLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskLog")
    }
}
