//! `GET /admin/tasks` and `POST /admin/tasks/cancel`: the search for tasks.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A task, without what was asked and answered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct TaskReply {
    /// The task.
    #[schema(format = "uuid", required = true)]
    pub task_id: String,
    /// `queued`, `delayed` (queued, but not due or in backoff), `processing`, `completed`, `failed` or `cancelled`.
    #[schema(example = "processing", required = true)]
    pub status: String,
    /// The model or the adapter.
    #[schema(example = "demo", required = true)]
    pub model: String,
    /// `high`, `normal`, `low` or `batch`.
    #[schema(example = "normal", required = true)]
    pub lane: String,
    /// The owner of the key that submitted it.
    #[schema(example = "acme", required = true)]
    pub tenant: String,
    /// The client's label for its end user.
    pub user_id: Option<String>,
    /// When it was accepted, in milliseconds since 1970.
    #[schema(example = 1_763_739_000_000_u64, required = true)]
    pub submitted_at: u64,
    /// When its latest attempt started, likewise; null if none has.
    #[schema(example = 1_763_739_002_300_u64)]
    pub started_at: Option<u64>,
    /// When its outcome was recorded, likewise; null until then.
    #[schema(example = 1_763_739_008_100_u64)]
    pub ended_at: Option<u64>,
    /// The number of times that it was given to a worker.
    #[schema(example = 1, required = true)]
    pub attempt: u32,
    /// The worker of the latest attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid", nullable = false)]
    pub worker: Option<String>,
    /// While it is delayed, when it is due, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub run_at: Option<u64>,
    /// Whether its worker was asked to stop it and has not yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub cancel_requested: bool,
    /// Once it has ended: seconds until its latest attempt started.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = 2.3)]
    pub queue_wait_time: Option<f64>,
    /// Once it has ended: seconds that its latest attempt took.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = 5.8)]
    pub processing_time: Option<f64>,
    /// If it failed: what it failed with, for a program.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "out_of_memory")]
    pub error_type: Option<String>,
}

/// A page of tasks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct TasksReply {
    /// The newest first. A page may be short, or empty, although more follow.
    #[schema(required = true)]
    pub tasks: Vec<TaskReply>,
    /// The `cursor` of the next page; null if there is none.
    pub next_cursor: Option<String>,
}

/// The result of cancelling the tasks that match.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CancelledReply {
    /// Whether nothing was cancelled.
    #[schema(required = true)]
    pub dry_run: bool,
    /// The number of queued tasks that match, as far as the search went.
    #[schema(example = 3, required = true)]
    pub matched: u64,
    /// The number of tasks that this request cancelled. Less than `matched` if workers claimed some meanwhile; 0 in a dry run.
    #[schema(example = 3, required = true)]
    pub cancelled: u64,
    /// The first of the cancelled tasks, in a dry run of those that match; at most 20.
    #[schema(required = true)]
    pub task_ids: Vec<String>,
    /// The `cursor` with which a further request continues; null if all tasks were searched.
    pub next_cursor: Option<String>,
}
