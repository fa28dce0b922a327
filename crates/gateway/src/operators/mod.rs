//! Replies of the operators' routes, which the command line reads too. A field that an older gateway does not send gets
//! its default; the description says that all are sent.

mod dead_letters;
mod history;
mod overview;
mod schedule;
mod tasks;
mod usage;
mod workers;

pub use dead_letters::{DeadLetterReply, FailureReply};
pub use history::{HistoryReply, PastQueueReply, PointReply};
pub use overview::{BatchReply, LanesReply, OverviewReply, QueueReply};
pub use schedule::{PeriodicReply, PeriodicRunReply, ScheduleReply};
pub use tasks::{CancelledReply, TaskReply, TasksReply};
pub use usage::{Group, UsageAmounts, UsageReply, UsageSum};
pub use workers::{GpuReply, ServedReply, WorkerReply};
