//! Log lines of ended tasks. A line is **pending** until a process acknowledges that it is written.
//! The responsible process is recorded with the outcome, in the same step.
//!
//! The process that records an outcome (or ends a cancelled task by releasing it) has [`LINE_SPAN`]
//! to write the line and acknowledge it. If it does not, since it crashed or its disk was full, the
//! next caller of [`Broker::unlogged`](crate::Broker::unlogged) gets the line, again for a span.
//! Lines of ends without a lease (cancelled while queued, expired, cancelled by a reap) are due at
//! once.

use std::time::Duration;

use protocol::TaskSnapshot;

/// The time for which the log line of an end belongs to the process that recorded it. If half of it
/// has passed since the outcome was first sent, that process must leave the line to the journal:
/// another process may be about to write it.
pub const LINE_SPAN: Duration = Duration::from_secs(10);

/// The minimum time for which a line's fields are kept after the end, however soon the outcome
/// expires.
pub const LINE_KEPT: Duration = Duration::from_secs(60 * 60);

/// An ended task whose log line the caller must write.
#[derive(Debug, Clone, PartialEq)]
pub struct Unlogged {
    /// The snapshot of the ended task.
    pub end: TaskSnapshot,
    /// How long ago the task ended, if another process may have written the line and crashed before
    /// it acknowledged it: search the log before you write. `None` if no process had the line before.
    pub perhaps_written: Option<Duration>,
}
