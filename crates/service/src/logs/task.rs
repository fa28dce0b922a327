//! `llm_requests.log` and `errors.log`: one line, and for a failure one block, per ended task.

use std::fmt;

use protocol::{Metrics, Outcome, TaskId, TaskSnapshot, Timestamp};
use queue::Claimed;
use time::OffsetDateTime;

use super::counts::LogCounts;
use super::format;
use super::writer::{Entry, Inlet, Receipt};

/// Writes the two files. A worker that records an outcome calls it once; ends that no worker records
/// are the queue's journal's ([`crate::reaper`]).
///
/// Never waits for the disk. A line without a receipt is kept in memory until it can be written, as far
/// as there is room, and counted as lost otherwise. A line with a [`Receipt`] is tried once: its caller
/// learns whether it was written, and owes it until it was.
#[derive(Clone)]
pub struct TaskLog {
    inlet: Inlet,
    counts: LogCounts,
}

impl TaskLog {
    pub(super) fn new(inlet: Inlet, counts: LogCounts) -> Self {
        Self { inlet, counts }
    }

    /// Writes down the end of a task, if it has one.
    pub fn ended(&self, snapshot: &TaskSnapshot) {
        if let Some(entry) = entry_of(snapshot) {
            self.inlet.put(entry);
        }
    }

    /// The same for a caller that owes the line until it is written.
    pub fn ended_with_receipt(&self, snapshot: &TaskSnapshot) -> Receipt {
        let Some(entry) = entry_of(snapshot) else { return Receipt::of_nothing() };
        let (entry, receipt) = entry.with_receipt();
        self.inlet.put(entry);
        receipt
    }

    /// Writes down the end that the holder of a task recorded `at` this instant. Returns its figures.
    pub fn finished(&self, claimed: &Claimed, outcome: &Outcome, at: Timestamp) -> Metrics {
        let metrics = metrics(claimed, outcome, at);
        self.inlet.put(entry(claimed.task.id, outcome, &metrics));
        metrics
    }

    /// The same for a caller that owes the line until it is written.
    pub fn finished_with_receipt(
        &self,
        claimed: &Claimed,
        outcome: &Outcome,
        at: Timestamp,
    ) -> (Metrics, Receipt) {
        let metrics = metrics(claimed, outcome, at);
        let (entry, receipt) = entry(claimed.task.id, outcome, &metrics).with_receipt();
        self.inlet.put(entry);
        (metrics, receipt)
    }

    /// The counters of this process's log files.
    pub fn counts(&self) -> LogCounts {
        self.counts.clone()
    }
}

fn metrics(claimed: &Claimed, outcome: &Outcome, at: Timestamp) -> Metrics {
    Metrics::new(claimed.submitted_at, Some(claimed.started_at), at, outcome.usage())
}

fn entry_of(snapshot: &TaskSnapshot) -> Option<Entry> {
    let (outcome, metrics) = (snapshot.outcome.as_ref()?, snapshot.metrics()?);
    Some(entry(snapshot.task.id, outcome, &metrics))
}

fn entry(task_id: TaskId, outcome: &Outcome, metrics: &Metrics) -> Entry {
    let now = OffsetDateTime::now_utc();
    let line = format::request_line(now, task_id, outcome, metrics);
    let block = match outcome {
        Outcome::Failed(error) => Some(format::error_block(now, task_id, error).into_bytes()),
        Outcome::Completed(_) | Outcome::Cancelled => None,
    };
    Entry::new(line.into_bytes(), block)
}

impl fmt::Debug for TaskLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskLog")
    }
}
