//! `GET /admin/dead-letters`: tasks that have used up their attempts.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A task that used its attempts up.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct DeadLetterReply {
    /// The task.
    #[schema(format = "uuid", required = true)]
    pub task_id: String,
    /// What it asked for.
    #[schema(example = "demo", required = true)]
    pub model: String,
    /// What it ended with, for a program.
    #[schema(example = "worker_lost", required = true)]
    pub error_type: String,
    /// What it ended with, for a person.
    #[schema(required = true)]
    pub error_message: String,
    /// What ended each failed attempt, in order; at most the latest 32.
    #[schema(required = true)]
    pub failures: Vec<FailureReply>,
    /// When it was accepted, in milliseconds since 1970.
    #[schema(example = 1_763_739_000_000_u64, required = true)]
    pub submitted_at: u64,
    /// When it ended, likewise.
    #[schema(example = 1_763_739_045_123_u64, required = true)]
    pub died_at: u64,
    /// The whole task, as the queue keeps it; only in `GET /admin/dead-letters/{task_id}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub task: Option<Value>,
}

/// How one attempt failed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct FailureReply {
    /// Which delivery.
    #[schema(example = 1, required = true)]
    pub attempt: u32,
    /// Who held it.
    #[schema(format = "uuid", required = true)]
    pub worker: String,
    /// When, in milliseconds since 1970.
    #[schema(example = 1_763_739_040_000_u64, required = true)]
    pub at: u64,
    /// What went wrong, for a program.
    #[schema(example = "out_of_memory", required = true)]
    pub error_type: String,
    /// What went wrong, for a person.
    #[schema(required = true)]
    pub error_message: String,
}
