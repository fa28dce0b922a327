//! Log lines of ended tasks. The line of an end is **owed** until somebody says that it is written, and who
//! owes it is settled with the outcome, in the same step.
//!
//! Who records an outcome (or ends a cancelled task by giving it back) has [`LINE_SPAN`] to write the line and
//! to say so. What is not said by then, since the process died or the disk was full, falls to whoever asks
//! [`Broker::unlogged`](crate::Broker::unlogged) next, again for a span. Ends that nobody's lease decided
//! (cancelled while queued, expired, cancelled by a reap) are due at once.

use std::time::Duration;

use protocol::TaskSnapshot;

/// How long the log line of an end is its recorder's to write. One who finds that half of it has passed since
/// the outcome was first sent leaves the line to the journal: somebody else may be about to write it.
pub const LINE_SPAN: Duration = Duration::from_secs(10);

/// What a line is made of is kept for at least this long after the end, however soon the outcome expires.
pub const LINE_KEPT: Duration = Duration::from_secs(60 * 60);

/// An ended task whose log line is the caller's to write.
#[derive(Debug, Clone, PartialEq)]
pub struct Unlogged {
    /// The task and its end.
    pub end: TaskSnapshot,
    /// How long ago it ended, where somebody may have written the line and died before they said so: look for
    /// it in the log before you write. `None` if nobody had it to write before.
    pub perhaps_written: Option<Duration>,
}
