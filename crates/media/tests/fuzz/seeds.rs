//! The time that tests with random inputs take. Those of the engine and of skills use this file too.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Returns seeds until the time is over: `QWEN_QUEUE_FUZZ_SECONDS`, 2 by default.
pub(crate) fn seeds() -> impl Iterator<Item = u64> {
    let set = std::env::var("QWEN_QUEUE_FUZZ_SECONDS").ok();
    let seconds = set.map_or(2, |seconds| seconds.parse().expect("a number of seconds"));
    let (began, limit) = (Instant::now(), Duration::from_secs(seconds));
    (0..).take_while(move |_| began.elapsed() < limit)
}

/// Returns the processor time that this process has used. Unlike the time of a clock, it does not
/// grow while the machine does something else.
pub(crate) fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).expect("not negative")
}
