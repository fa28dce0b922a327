//! Limits that both stores keep. `redis/scripts.rs` hands them to the scripts.

use std::time::Duration;

/// The maximum number of a tenant's tasks in a stream, apart from requeued ones; the rest wait in its
/// backlog.
pub(crate) const WINDOW: u32 = 16;

/// The maximum number of tasks per claim, so that no step of the store takes much longer than others.
pub(crate) const MOST_TAKEN: usize = 32;

/// The maximum number of delayed tasks that one claim moves into the queue.
pub(crate) const PROMOTED: u32 = 16;

/// The maximum number of events kept per task. When an attempt writes more, the oldest are dropped,
/// and a reader that starts too late sees a gap in the numbers. The outcome, which contains the
/// whole text, is the last event and always kept.
pub(crate) const MAX_EVENTS: u64 = 4_096;

/// The maximum number of failed attempts recorded per task: the latest are kept.
pub(crate) const MAX_FAILURES: u32 = 32;

/// No short time limit ends later than this: a backoff, a report's TTL, the span of a log line. After the
/// clock went back, later ones are cut to it.
pub(crate) const SHORT_LIMIT: Duration = Duration::from_secs(60);
