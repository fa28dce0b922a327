//! How many lines each log file has, waits for and has lost: for `/health`, workers' reports and metrics.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::TaskId;
use queue::LINE_SPAN;

/// How long a line that this process could not write counts as waiting: it is retried sooner, here or elsewhere.
const OWED: Duration = LINE_SPAN.saturating_mul(2);

/// The counters of a process's log files. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct LogCounts(Arc<[Counters; 3]>);

/// The three files, in the order of their counters.
#[derive(Debug, Clone, Copy)]
pub(super) enum LogFile {
    App,
    Requests,
    Errors,
}

/// One file's counters. Blocks of `errors.log` count as lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileCounts {
    /// Lines written since the process started.
    pub written: u64,
    /// Lines that wait now, because the file can't be written: in memory, or, those of ended tasks, in the queue.
    pub waiting: u64,
    /// Lines that were not written and never will be.
    pub lost: u64,
    /// How many of the files counted here could not be written when that was last tried.
    pub failing: u64,
}

#[derive(Debug, Default)]
struct Counters {
    written: AtomicU64,
    waiting: AtomicU64,
    lost: AtomicU64,
    failing: AtomicBool,
    /// Ended tasks whose lines could not be written, and when that was tried.
    owed: Mutex<HashMap<TaskId, Instant>>,
}

impl LogCounts {
    fn owed(&self) -> MutexGuard<'_, HashMap<TaskId, Instant>> {
        let counters = &self.0[LogFile::Requests as usize];
        counters.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the line of an ended task as written, or as one that waits in the queue.
    pub(super) fn set_owed(&self, id: TaskId, written: bool) {
        let mut owed = self.owed();
        if !written {
            owed.insert(id, Instant::now());
        } else if !owed.is_empty() {
            owed.remove(&id);
        }
    }

    /// Each file's name (`app`, `llm_requests`, `errors`) and its counters.
    pub fn files(&self) -> [(&'static str, FileCounts); 3] {
        [LogFile::App, LogFile::Requests, LogFile::Errors].map(|file| (file.name(), self.of(file)))
    }

    /// The counters of all files together.
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
        let mut owed = counters.owed.lock().unwrap_or_else(PoisonError::into_inner);
        owed.retain(|_, tried| tried.elapsed() < OWED);
        FileCounts {
            written: counters.written.load(Ordering::Relaxed),
            waiting: counters.waiting.load(Ordering::Relaxed) + owed.len() as u64,
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
    /// `app` for `app.log`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Requests => "llm_requests",
            Self::Errors => "errors",
        }
    }
}
