//! Counts the written, waiting and lost lines of each log file, for `/health`, workers' reports and
//! metrics.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::TaskId;
use queue::LINE_SPAN;

/// The time for which a line that this process could not write counts as waiting. It is retried
/// sooner than that, here or in another process.
const UNWRITTEN_FOR: Duration = LINE_SPAN.saturating_mul(2);

/// The counters of a process's log files. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct LogCounts(Arc<[Counters; 4]>);

/// The log files, in the order of their counters.
#[derive(Debug, Clone, Copy)]
pub(super) enum LogFile {
    App,
    Requests,
    Errors,
    Audit,
}

/// The counters of one file. Blocks of `errors.log` count as lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileCounts {
    /// Lines written since the process started.
    pub written: u64,
    /// Lines that wait because the file cannot be written: in memory or, for ended tasks, in the
    /// queue.
    pub waiting: u64,
    /// Lines that were discarded.
    pub lost: u64,
    /// The number of counted files whose latest write failed.
    pub failing: u64,
}

#[derive(Debug, Default)]
struct Counters {
    written: AtomicU64,
    waiting: AtomicU64,
    lost: AtomicU64,
    failing: AtomicBool,
    /// Ended tasks whose lines could not be written, with the time of the last try.
    unwritten: Mutex<HashMap<TaskId, Instant>>,
}

impl LogCounts {
    fn unwritten(&self) -> MutexGuard<'_, HashMap<TaskId, Instant>> {
        let counters = &self.0[LogFile::Requests as usize];
        counters.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records whether an ended task's line was written, or waits in the queue.
    pub(super) fn record_line(&self, id: TaskId, written: bool) {
        let mut unwritten = self.unwritten();
        if !written {
            unwritten.insert(id, Instant::now());
        } else if !unwritten.is_empty() {
            unwritten.remove(&id);
        }
    }

    /// Returns each file's name (`app`, `llm_requests`, `errors`, `audit`) and its counters.
    pub fn files(&self) -> [(&'static str, FileCounts); 4] {
        [LogFile::App, LogFile::Requests, LogFile::Errors, LogFile::Audit]
            .map(|file| (file.name(), self.of(file)))
    }

    /// Returns the sums over all files.
    pub fn total(&self) -> FileCounts {
        self.files().iter().fold(FileCounts::default(), |sum, (_, file)| FileCounts {
            written: sum.written + file.written,
            waiting: sum.waiting + file.waiting,
            lost: sum.lost + file.lost,
            failing: sum.failing + file.failing,
        })
    }

    pub(super) fn of(&self, file: LogFile) -> FileCounts {
        let counters = &self.0[file as usize];
        let mut unwritten = counters.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        unwritten.retain(|_, tried| tried.elapsed() < UNWRITTEN_FOR);
        FileCounts {
            written: counters.written.load(Ordering::Relaxed),
            waiting: counters.waiting.load(Ordering::Relaxed) + unwritten.len() as u64,
            lost: counters.lost.load(Ordering::Relaxed),
            failing: counters.failing.load(Ordering::Relaxed).into(),
        }
    }

    pub(super) fn add_written(&self, file: LogFile, lines: usize) {
        self.0[file as usize].written.fetch_add(lines as u64, Ordering::Relaxed);
    }

    pub(super) fn add_lost(&self, file: LogFile, lines: usize) {
        self.0[file as usize].lost.fetch_add(lines as u64, Ordering::Relaxed);
    }

    pub(super) fn set_failing(&self, file: LogFile, failing: bool) {
        self.0[file as usize].failing.store(failing, Ordering::Relaxed);
    }

    pub(super) fn set_waiting(&self, file: LogFile, lines: usize) {
        self.0[file as usize].waiting.store(lines as u64, Ordering::Relaxed);
    }
}

impl LogFile {
    /// Returns the name without extension: `app` for `app.log`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Requests => "llm_requests",
            Self::Errors => "errors",
            Self::Audit => "audit",
        }
    }
}
