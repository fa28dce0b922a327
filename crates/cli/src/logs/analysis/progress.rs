//! Progress of reading.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use reports::Input;

use crate::text::bytes;

/// The time after which progress is shown, and the interval of its updates.
const PROGRESS: Duration = Duration::from_millis(500);

/// Shows how much was read, on standard error if it is a terminal.
pub(super) struct Progress {
    /// The number of bytes of all inputs, if it is known.
    all: Option<u64>,
    /// When to show it next; `None` if there is no terminal.
    next: Option<Mutex<Instant>>,
    start: Instant,
}

impl Progress {
    pub(super) fn new(inputs: &[Input]) -> Self {
        let start = Instant::now();
        let next = io::stderr().is_terminal().then(|| Mutex::new(start + PROGRESS));
        Self { all: inputs.iter().map(Input::bytes).sum(), next, start }
    }

    pub(super) fn show(&self, read: u64) {
        // A thread that finds it locked has nothing newer to show.
        let Some(mut next) = self.next.as_ref().and_then(|next| next.try_lock().ok()) else {
            return;
        };
        let now = Instant::now();
        if now < *next {
            return;
        }
        *next = now + PROGRESS;
        let of_all = match self.all {
            Some(all) if all > 0 => format!(" of {} ({} %)", bytes(all), read.min(all) * 100 / all),
            _ => String::new(),
        };
        // A failed write to standard error can be reported nowhere else.
        let _ = write!(io::stderr(), "\r\x1b[Kqwen-queue: read {}{of_all}", bytes(read));
    }

    /// Removes the line.
    pub(super) fn clear(&self) {
        if self.next.is_some() && self.start.elapsed() >= PROGRESS {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
