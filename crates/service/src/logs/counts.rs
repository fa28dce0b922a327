//! How many lines each log file has, waits for and has lost: for `/health`, workers' reports and metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
    /// Lines that wait in memory now, because the file can't be written.
    pub waiting: u64,
    /// Lines that were not written and never will be.
    pub lost: u64,
}

#[derive(Debug, Default)]
struct Counters {
    written: AtomicU64,
    waiting: AtomicU64,
    lost: AtomicU64,
}

impl LogCounts {
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
        })
    }

    pub(super) fn of(&self, file: LogFile) -> FileCounts {
        let counters = &self.0[file as usize];
        FileCounts {
            written: counters.written.load(Ordering::Relaxed),
            waiting: counters.waiting.load(Ordering::Relaxed),
            lost: counters.lost.load(Ordering::Relaxed),
        }
    }

    pub(super) fn add_written(&self, file: LogFile, lines: usize) {
        self.0[file as usize].written.fetch_add(lines as u64, Ordering::Relaxed);
    }

    pub(super) fn add_lost(&self, file: LogFile, lines: usize) {
        self.0[file as usize].lost.fetch_add(lines as u64, Ordering::Relaxed);
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
