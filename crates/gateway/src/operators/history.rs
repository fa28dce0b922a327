//! `GET /admin/history`: the queues over the last hours.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The queues over the last hours, as this gateway has seen them since it started.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct HistoryReply {
    /// The distance of two points, in seconds. A missing point is a time in which the queue could not be read.
    #[schema(example = 10, required = true)]
    pub interval_seconds: u64,
    /// From the oldest to the latest.
    #[schema(required = true)]
    pub points: Vec<PointReply>,
}

/// The queues at one time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct PointReply {
    /// When, in milliseconds since 1970, on the queue's clock.
    #[schema(example = 1_763_739_045_123_u64, required = true)]
    pub at: u64,
    /// The workers that had reported lately.
    #[schema(example = 2, required = true)]
    pub workers: u64,
    /// The models whose tasks waited, ran or ended.
    #[schema(required = true)]
    pub models: Vec<PastQueueReply>,
}

/// One model's queue at one time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct PastQueueReply {
    /// The model; `other` sums up models that no worker serves.
    #[schema(example = "demo", required = true)]
    pub model: String,
    /// Queued tasks, without the delayed ones.
    #[schema(example = 3, required = true)]
    pub queued: u64,
    /// Tasks that wait for their time: submitted with a delay, or in backoff between attempts.
    #[schema(example = 0, required = true)]
    pub delayed: u64,
    /// Running tasks.
    #[schema(example = 1, required = true)]
    pub processing: u64,
    /// Tasks that the ready workers can run at once.
    #[schema(example = 4, required = true)]
    pub capacity: u64,
    /// Tasks that completed since the point before.
    #[schema(example = 17, required = true)]
    pub completed: u64,
    /// Tasks that failed since the point before.
    #[schema(example = 0, required = true)]
    pub failed: u64,
    /// Tasks that were cancelled since the point before.
    #[schema(example = 0, required = true)]
    pub cancelled: u64,
    /// Moving average of processing times, in seconds; null if none was measured.
    #[schema(example = 5.8)]
    pub service_seconds: Option<f64>,
}
