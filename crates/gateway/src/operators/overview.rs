//! `GET /admin/overview`: all queues, batches and workers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::workers::WorkerReply;

/// All queues, batches and workers at a glance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct OverviewReply {
    /// When, in milliseconds since 1970, on the queue's clock.
    #[schema(example = 1_763_739_045_123_u64, required = true)]
    pub at: u64,
    /// The gateway's version.
    #[schema(example = "0.1.0", required = true)]
    pub version: String,
    /// Each model that was ever submitted to or paused, by name.
    #[schema(required = true)]
    pub queues: Vec<QueueReply>,
    /// Bytes of all queued tasks.
    #[schema(example = 12_345, required = true)]
    pub queued_bytes: u64,
    /// Dead letters that wait for an operator.
    #[schema(example = 0, required = true)]
    pub dead_letters: u64,
    /// Webhooks that have yet to be delivered or given up.
    #[schema(example = 0, required = true)]
    pub webhooks_pending: u64,
    /// Batches that have not ended.
    #[schema(example = 1, required = true)]
    pub batches_running: u64,
    /// Some of these; at most 20.
    #[schema(required = true)]
    pub batches: Vec<BatchReply>,
    /// The workers that reported lately.
    #[schema(required = true)]
    pub workers: Vec<WorkerReply>,
}

/// The progress of one batch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct BatchReply {
    /// Its id, as in `/v1/batches`.
    #[schema(example = "batch_0192f0c123457abc8def0123456789ab", required = true)]
    pub batch_id: String,
    /// Its owner.
    #[schema(example = "t-4f1c", required = true)]
    pub tenant: String,
    /// The route of its requests.
    #[schema(example = "/v1/chat/completions", required = true)]
    pub endpoint: String,
    /// Its state.
    #[schema(example = "in_progress", required = true)]
    pub status: String,
    /// Its lines; 0 until they are checked.
    #[schema(example = 10_000, required = true)]
    pub total: u32,
    /// Lines that ended with an answer.
    #[schema(example = 2_560, required = true)]
    pub completed: u32,
    /// Lines that ended with an error.
    #[schema(example = 0, required = true)]
    pub failed: u32,
    /// When it was created, in milliseconds since 1970.
    #[schema(example = 1_763_739_045_123_u64, required = true)]
    pub created_at: u64,
    /// When its time is over, in milliseconds since 1970.
    #[schema(example = 1_763_825_445_123_u64, required = true)]
    pub expires_at: u64,
}

/// One model's queue.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct QueueReply {
    /// The model.
    #[schema(example = "demo", required = true)]
    pub model: String,
    /// Whether its tasks are held back.
    #[schema(required = true)]
    pub paused: bool,
    /// Tasks that wait in each lane, without the delayed.
    #[schema(required = true)]
    pub queued: LanesReply,
    /// Tasks that wait for their time: submitted with a delay, or resting between attempts.
    #[schema(example = 0, required = true)]
    pub delayed: u64,
    /// Tasks that run.
    #[schema(example = 1, required = true)]
    pub processing: u64,
    /// Tasks that the ready workers can run at once.
    #[schema(example = 4, required = true)]
    pub capacity: u64,
    /// Average processing time of late, in seconds; null while none was measured.
    #[schema(example = 5.8)]
    pub service_seconds: Option<f64>,
    /// Tasks ended so far with a result.
    #[schema(example = 17, required = true)]
    pub completed: u64,
    /// Tasks ended so far with an error.
    #[schema(example = 0, required = true)]
    pub failed: u64,
    /// Tasks taken back so far.
    #[schema(example = 0, required = true)]
    pub cancelled: u64,
}

/// Tasks by lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct LanesReply {
    /// In lane `high`.
    #[schema(example = 0, required = true)]
    pub high: u64,
    /// In lane `normal`.
    #[schema(example = 3, required = true)]
    pub normal: u64,
    /// In lane `low`.
    #[schema(example = 0, required = true)]
    pub low: u64,
    /// In lane `batch`.
    #[schema(example = 0, required = true)]
    pub batch: u64,
}

impl QueueReply {
    /// Returns the number of tasks that have ended so far, with any outcome.
    pub fn ended(&self) -> u64 {
        self.completed + self.failed + self.cancelled
    }
}

impl LanesReply {
    /// Returns the number of tasks in all lanes.
    pub fn total(&self) -> u64 {
        self.high + self.normal + self.low + self.batch
    }
}
