//! Replies of the operators' routes, which the command line reads too. A field that an older gateway does not send gets
//! its default; the description says that all are sent.

mod dead_letters;
mod overview;
mod usage;
mod workers;

pub use dead_letters::{DeadLetterReply, FailureReply};
pub use overview::{BatchReply, LanesReply, OverviewReply, QueueReply};
pub use usage::{Group, UsageAmounts, UsageReply, UsageSum};
pub use workers::{GpuReply, ServedReply, WorkerReply};
