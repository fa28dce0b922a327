//! Damages files at random and decodes them: nothing panics, takes long, or takes more memory than it says.
//!
//! `QWEN_QUEUE_FUZZ_SECONDS` is the time of each test (2).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)] // in helpers too

mod images;
mod mutate;
mod samples;
mod seeds;
mod videos;

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::sync::Once;

/// Runs `work`, which must not panic. Returns its result, and the most bytes that it had allocated at a time.
fn within<T>(label: &str, work: impl FnOnce() -> T) -> (T, u64) {
    // A backtrace, which the usual hook may print, takes more memory than any file.
    static HOOK: Once = Once::new();
    HOOK.call_once(|| set_hook(Box::new(|panic| eprintln!("{panic}"))));
    let mut result = None;
    let measured = allocation_counter::measure(|| {
        result = Some(catch_unwind(AssertUnwindSafe(work)));
    });
    let result = result.unwrap().unwrap_or_else(|_| panic!("{label} panics"));
    (result, measured.bytes_max)
}
