//! `GET /admin/schedule`: the periodic tasks.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The schedule of this gateway.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ScheduleReply {
    /// When, in milliseconds since 1970, on the queue's clock.
    #[schema(example = 1_763_739_045_123_u64, required = true)]
    pub at: u64,
    /// Whether the gateway has a schedule (`SCHEDULE_FILE`).
    #[schema(example = true, required = true)]
    pub configured: bool,
    /// Its periodic tasks, in the order of the file.
    #[schema(required = true)]
    pub tasks: Vec<PeriodicReply>,
}

/// A periodic task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct PeriodicReply {
    /// Its name.
    #[schema(example = "nightly-report", required = true)]
    pub name: String,
    /// When it is due.
    #[schema(example = "0 3 * * *", required = true)]
    pub cron: String,
    /// The time zone of `cron`.
    #[schema(example = "Europe/Oslo", required = true)]
    pub timezone: String,
    /// The owner of its tasks; null if its key can't be found.
    #[schema(example = "acme")]
    pub owner: Option<String>,
    /// The key whose limits apply, if the file names one.
    #[schema(example = "key_01a2286845e77370aad3be71dafcafb2")]
    pub key: Option<String>,
    /// What happens to occurrences that were missed: `skip`, `once` or `all`.
    #[schema(example = "skip", required = true)]
    pub missed: String,
    /// Whether it is submitted when it is due.
    #[schema(example = true, required = true)]
    pub enabled: bool,
    /// When it is submitted next, in milliseconds since 1970; null if it is disabled.
    #[schema(example = 1_763_776_800_000_u64)]
    pub next_at: Option<u64>,
    /// Its latest task.
    pub last: Option<PeriodicRunReply>,
    /// Tasks submitted so far.
    #[schema(example = 17, required = true)]
    pub runs: u64,
    /// Occurrences skipped so far.
    #[schema(example = 0, required = true)]
    pub skipped: u64,
    /// Why it is not submitted now, if something prevents it.
    #[schema(example = "The key key_01a2286845e77370aad3be71dafcafb2 is blocked")]
    pub problem: Option<String>,
}

/// A task of a periodic task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct PeriodicRunReply {
    /// The task.
    #[schema(format = "uuid", required = true)]
    pub task_id: String,
    /// Its state; null once its result has expired.
    #[schema(example = "completed")]
    pub status: Option<String>,
    /// The occurrence that it stands for, in milliseconds since 1970.
    #[schema(example = 1_763_690_400_000_u64, required = true)]
    pub occurrence: u64,
    /// When it was submitted, likewise.
    #[schema(example = 1_763_690_400_020_u64, required = true)]
    pub submitted_at: u64,
    /// Whether an operator asked for it.
    #[schema(example = false, required = true)]
    pub manual: bool,
}
