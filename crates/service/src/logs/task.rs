//! Writes `llm_requests.log` and `errors.log`: one line per ended task, and one block per failed
//! one.
//!
//! The queue's journal lists the lines that are still to be written ([`queue::LINE_SPAN`]). An
//! entry is removed once its line is in the file, so if a process is killed before that, or its
//! disk is full, another process writes the line.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use protocol::{Metrics, Outcome, Task, TaskId, TaskSnapshot, TaskSummary, Timestamp};
use queue::{Broker, Claimed, LINE_SPAN, Unlogged};
use time::OffsetDateTime;

use super::counts::LogCounts;
use super::format::LoggedTask;
use super::writer::{Entry, LogSender, Receipt};
use super::{format, lookup};

/// Maximum wait for the last lines when the process ends.
const LAST_WAIT: Duration = Duration::from_secs(3);
/// Interval of the checks during that wait.
const LOOK: Duration = Duration::from_millis(5);

/// Writes the two files. Never blocks on the disk.
#[derive(Clone)]
pub struct TaskLog {
    dir: Arc<Path>,
    log_sender: LogSender,
    counts: LogCounts,
    /// Whether lines end with the model, the owner and the kind of error.
    details: bool,
    /// The number of lines handed to the writer whose receipts are pending.
    waiting: Arc<AtomicUsize>,
}

impl TaskLog {
    pub(super) fn new(dir: &Path, log_sender: LogSender, counts: LogCounts, details: bool) -> Self {
        Self { dir: dir.into(), log_sender, counts, details, waiting: Arc::default() }
    }

    /// Logs an outcome that this process recorded at time `at` of the queue's clock and first sent
    /// at `sent`. Removes it from the journal once the line is in the file. Returns the task's
    /// metrics. Must be called within a Tokio runtime.
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
        let Task { id, model, tenant, .. } = &claimed.task;
        let task = LoggedTask { id: *id, model, owner: tenant, trace: claimed.task.trace_id() };
        self.write_in_time(broker, &task, outcome, &metrics, sent);
        metrics
    }

    /// Logs a task's end, if the task has ended and this process has been responsible for its line
    /// since `since` or later.
    pub fn ended(&self, broker: &Arc<dyn Broker>, end: &TaskSnapshot, since: Instant) {
        if let (Some(outcome), Some(metrics)) = (&end.outcome, end.metrics()) {
            self.write_in_time(broker, &logged(&end.task), outcome, &metrics, since);
        }
    }

    /// Logs the ends that the queue's journal returned to a request sent at `asked`, except those
    /// whose lines are in these files already. Returns `true` if all are in the files; the others
    /// stay in the journal.
    pub async fn take_over(
        &self,
        broker: &Arc<dyn Broker>,
        due: &[Unlogged],
        asked: Instant,
    ) -> bool {
        let ids = due.iter().filter(|due| due.perhaps_written.is_some());
        let ids: HashSet<TaskId> = ids.map(|due| due.end.task.id).collect();
        let mut found = HashSet::new();
        if !ids.is_empty() {
            let oldest = due.iter().filter_map(|due| due.perhaps_written).max().unwrap_or_default();
            let dir = Arc::clone(&self.dir);
            let look = move || lookup::written(&dir, &ids, OffsetDateTime::now_utc() - oldest);
            // If the search fails, a duplicate line is better than a missing one.
            found = tokio::task::spawn_blocking(look).await.unwrap_or_default();
        }
        let mut receipts = Vec::new();
        for Unlogged { end, .. } in due {
            if found.contains(&end.task.id) {
                broker.note_logged(end.task.id);
                self.counts.record_line(end.task.id, true);
            } else if asked.elapsed() < LINE_SPAN / 2
                && let (Some(outcome), Some(metrics)) = (&end.outcome, end.metrics())
            {
                receipts.push((end.task.id, self.write(&logged(&end.task), outcome, &metrics)));
            }
        }
        let (mut written, all) = (found.len(), due.len());
        for (id, receipt) in receipts {
            let is_written = receipt.written().await;
            self.counts.record_line(id, is_written);
            if is_written {
                broker.note_logged(id);
                written += 1;
            }
        }
        written >= all
    }

    /// Waits until all earlier lines are written or have failed, for a limited time.
    pub async fn flushed(&self) {
        let until = Instant::now() + LAST_WAIT;
        while self.waiting.load(Ordering::Acquire) > 0 && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Returns the counters of this process's log files.
    pub fn counts(&self) -> LogCounts {
        self.counts.clone()
    }

    fn write_in_time(
        &self,
        broker: &Arc<dyn Broker>,
        task: &LoggedTask<'_>,
        outcome: &Outcome,
        metrics: &Metrics,
        since: Instant,
    ) {
        let task_id = task.id;
        if since.elapsed() >= LINE_SPAN / 2 {
            // Another process may be about to write it. Whoever gets it from the journal searches
            // for it first.
            tracing::debug!(target: "service.logs", %task_id, "this process was suspended: the log line is left to the journal");
            return;
        }
        let receipt = self.write(task, outcome, metrics);
        let (broker, waiting) = (Arc::clone(broker), Arc::clone(&self.waiting));
        let counts = self.counts.clone();
        waiting.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let is_written = receipt.written().await;
            counts.record_line(task_id, is_written);
            if is_written {
                broker.note_logged(task_id);
            }
            waiting.fetch_sub(1, Ordering::Release);
        });
    }

    fn write(&self, task: &LoggedTask<'_>, outcome: &Outcome, metrics: &Metrics) -> Receipt {
        let now = OffsetDateTime::now_utc();
        let line = format::request_line(now, task, outcome, metrics, self.details);
        let block = match outcome {
            Outcome::Failed(error) => Some(format::error_block(now, task, error).into_bytes()),
            Outcome::Completed(_) | Outcome::Cancelled { .. } => None,
        };
        let (entry, receipt) = Entry::new(line.into_bytes(), block).with_receipt();
        self.log_sender.put(entry);
        receipt
    }
}

fn logged(task: &TaskSummary) -> LoggedTask<'_> {
    // An ended task keeps no trace.
    LoggedTask { id: task.id, model: &task.model, owner: &task.tenant, trace: None }
}

impl fmt::Debug for TaskLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskLog")
    }
}
