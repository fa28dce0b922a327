//! One log file of a writer thread: counts its lines, and reports when writes start to fail and
//! when they succeed again.

use std::time::Instant;

use super::counts::{LogCounts, LogFile};
use super::daily::{Appended, DailyFile};

/// Maximum size of one write.
const CHUNK: usize = 1 << 20;

/// A file with its counters.
pub(super) struct Output {
    which: LogFile,
    file: DailyFile,
    counts: LogCounts,
    trouble: Option<FailurePeriod>,
    /// The path cannot be reopened, so lines go to the file that was moved away.
    is_detached: bool,
    /// The number of lost lines that was last reported.
    reported_lost: u64,
}

/// A period of failing writes.
struct FailurePeriod {
    began: Instant,
    /// The maximum number of lines that waited.
    waited: usize,
}

impl Output {
    pub(super) fn new(which: LogFile, file: DailyFile, counts: LogCounts) -> Self {
        Self { which, file, counts, trouble: None, is_detached: false, reported_lost: 0 }
    }

    pub(super) fn file(&self) -> LogFile {
        self.which
    }

    pub(super) fn counts(&self) -> &LogCounts {
        &self.counts
    }

    /// Appends lines. Returns how many, counted from the first, are in the file.
    pub(super) fn write(&mut self, lines: &[&[u8]]) -> usize {
        if lines.is_empty() {
            return 0;
        }
        self.follow();
        let mut done = 0;
        while done < lines.len() {
            let mut bytes = 0;
            let fits = |line: &&&[u8]| {
                bytes += line.len();
                bytes <= CHUNK
            };
            let count = lines[done..].iter().take_while(fits).count().max(1);
            let Appended { lines: written, error } = self.file.append(&lines[done..done + count]);
            self.counts.add_written(self.which, written);
            done += written;
            if let Some(error) = error {
                self.failed(&error);
                return done;
            }
        }
        self.worked();
        done
    }

    /// Updates the counter of waiting lines.
    pub(super) fn set_waiting(&mut self, lines: usize) {
        self.counts.set_waiting(self.which, lines);
        if let Some(trouble) = &mut self.trouble {
            trouble.waited = trouble.waited.max(lines);
        }
    }

    /// Checks an idle file, and reopens it if it is no longer at its path.
    pub(super) fn look(&mut self) {
        self.follow();
        if self.trouble.is_none() {
            self.report_lost();
        }
    }

    /// Reopens the file at its path.
    pub(super) fn reopen(&mut self) {
        let reopened = self.file.reopen();
        self.opened(reopened);
    }

    fn follow(&mut self) {
        let followed = self.file.follow();
        self.opened(followed);
    }

    fn opened(&mut self, result: std::io::Result<()>) {
        let name = self.file.name();
        match result {
            Ok(()) => self.is_detached = false,
            Err(error) => {
                if !self.is_detached {
                    tracing::error!(
                        target: "service.logs",
                        "{name}.log can't be reopened: {error}; new lines are still written to the file that was \
                         moved; make LOG_DIR writable for this process"
                    );
                }
                self.is_detached = true;
            }
        }
    }

    fn failed(&mut self, error: &std::io::Error) {
        if self.trouble.is_none() {
            self.counts.set_failing(self.which, true);
            tracing::error!(
                target: "service.logs",
                "{}.log can't be written: {error}; lines are buffered in memory, and dropped when the buffer is \
                 full; free space in LOG_DIR",
                self.file.name()
            );
            self.trouble = Some(FailurePeriod { began: Instant::now(), waited: 0 });
        }
    }

    fn worked(&mut self) {
        if let Some(FailurePeriod { began, waited }) = self.trouble.take() {
            self.counts.set_failing(self.which, false);
            let seconds = began.elapsed().as_secs_f64();
            let lost = self.take_unreported_lost();
            tracing::warn!(
                target: "service.logs",
                "{}.log can be written again after {seconds:.1} s: {waited} lines were delayed, {lost} were lost",
                self.file.name()
            );
        }
    }

    /// Reports lines lost since the last report, if any.
    pub(super) fn report_lost(&mut self) {
        let lost = self.take_unreported_lost();
        if lost > 0 {
            tracing::error!(
                target: "service.logs",
                "{lost} lines of {}.log were lost: the file could not be written, or not as fast as lines arrived",
                self.file.name()
            );
        }
    }

    fn take_unreported_lost(&mut self) -> u64 {
        let lost = self.counts.of(self.which).lost;
        lost - std::mem::replace(&mut self.reported_lost, lost)
    }
}
