//! The clock and the processor time of this process.

use std::time::Instant;

/// Measures a span.
pub(crate) struct Clock {
    begin: Instant,
    processor: f64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { begin: Instant::now(), processor: processor_seconds() }
    }

    /// Returns the seconds by the clock, and the processor seconds of all threads that still run.
    pub(crate) fn seconds(&self) -> [f64; 2] {
        [self.begin.elapsed().as_secs_f64(), processor_seconds() - self.processor]
    }
}

/// Returns the processor seconds of all threads, or 0 if the system does not report them.
fn processor_seconds() -> f64 {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    let nanoseconds = threads.flatten().filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}
