//! Shows the progress of a long operation: a bar on a terminal, else a log line every 15 seconds.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

/// The time between two log lines.
const LOG_EVERY: Duration = Duration::from_secs(15);

/// The progress of one operation on a file, e.g. a download.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    /// The verb of the log lines, e.g. `downloading`.
    doing: &'static str,
    file: String,
    total: Option<u64>,
    last_line: Instant,
}

impl Progress {
    /// Logs the start, and shows a bar if `wanted` and stderr is a terminal. `doing` is a verb, e.g.
    /// `downloading`; `total` is in bytes.
    pub(crate) fn new(doing: &'static str, file: &str, total: Option<u64>, wanted: bool) -> Self {
        let size = total.map_or_else(String::new, |total| format!(" ({})", HumanBytes(total)));
        tracing::info!("{doing} {file}{size}");
        let bar = (wanted && stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new(total.unwrap_or(0)).with_message(file.to_owned());
            let style = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
            match ProgressStyle::with_template(style) {
                Ok(style) => bar.with_style(style.progress_chars("=> ")),
                Err(_) => bar,
            }
        });
        Self { bar, doing, file: file.to_owned(), total, last_line: Instant::now() }
    }

    /// Shows that `position` bytes are done.
    pub(crate) fn at(&mut self, position: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(position);
        } else if self.last_line.elapsed() >= LOG_EVERY {
            self.last_line = Instant::now();
            let of =
                self.total.map_or_else(String::new, |total| format!(" of {}", HumanBytes(total)));
            tracing::info!("{} {}: {}{of}", self.doing, self.file, HumanBytes(position));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
