//! Replies of the operators' routes, which the command line reads too. A field that an older gateway does not send gets
//! its default; the description says that all are sent.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

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

/// What a worker said of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct WorkerReply {
    /// This run of the worker; a restarted one has another.
    #[schema(format = "uuid", required = true)]
    pub id: String,
    /// The machine's name.
    #[schema(example = "gpu-7", required = true)]
    pub host: String,
    /// The process id there.
    #[schema(example = 4711, required = true)]
    pub pid: u32,
    /// The software's version.
    #[schema(example = "0.1.0", required = true)]
    pub version: String,
    /// The model it serves; the first, where it serves several.
    #[schema(example = "demo", required = true)]
    pub model: String,
    /// Its weights' format.
    #[schema(example = "Q4_K_M", required = true)]
    pub quantization: String,
    /// Where it computes.
    #[schema(example = "cpu", required = true)]
    pub device: String,
    /// `loading` its model, `ready` for tasks, or `draining`: it ends what it has and takes no more.
    #[schema(example = "ready", required = true)]
    pub status: String,
    /// Tasks it runs now.
    #[schema(example = 1, required = true)]
    pub running: u32,
    /// Tasks it can run at once.
    #[schema(example = 4, required = true)]
    pub capacity: u32,
    /// Tasks it has ended since its start.
    #[schema(example = 17, required = true)]
    pub finished: u64,
    /// When it started, in milliseconds since 1970 on its own clock.
    #[schema(example = 1_763_739_000_000_u64, required = true)]
    pub started_at: u64,
    /// When it last reported, in milliseconds since 1970 on the queue's clock; null if that is not known.
    #[schema(example = 1_763_739_045_000_u64)]
    pub last_seen: Option<u64>,
    /// Lines of its process's log files that were lost since its start.
    #[schema(example = 0, required = true)]
    pub log_lines_lost: u64,
    /// The GPUs that it computes on; not there for a worker on the CPU, or where the driver tells nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<GpuReply>,
    /// All the models it serves; empty if its version serves one.
    #[schema(required = true)]
    pub models: Vec<ServedReply>,
}

/// What the driver says of a GPU, whoever uses it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct GpuReply {
    /// Its number on its machine, as `nvidia-smi` counts.
    #[schema(example = 0, required = true)]
    pub id: u32,
    /// Bytes of its memory in use.
    #[schema(example = 21_474_836_480_u64, required = true)]
    pub memory_used_bytes: u64,
    /// Bytes of its memory.
    #[schema(example = 150_754_820_096_u64, required = true)]
    pub memory_total_bytes: u64,
    /// How much of the last moment it computed, in percent.
    #[schema(example = 97, required = true)]
    pub utilization_percent: u32,
}

/// A model that a worker serves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ServedReply {
    /// The model.
    #[schema(example = "demo", required = true)]
    pub model: String,
    /// The base that it adapts, if it is a LoRA adapter; the numbers are then those of both together.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub parent: Option<String>,
    /// Its weights' format.
    #[schema(example = "Q4_K_M", required = true)]
    pub quantization: String,
    /// `unloaded`, `loading`, `loaded`, `unloading` (what runs goes on to its end) or `failed` (it could
    /// not be loaded; that is tried again a minute later).
    #[schema(example = "loaded", required = true)]
    pub state: String,
    /// Its tasks that run now.
    #[schema(example = 1, required = true)]
    pub running: u32,
    /// How many of its tasks can run at once.
    #[schema(example = 4, required = true)]
    pub capacity: u32,
    /// What it takes of memory while it is loaded, in bytes, by the worker's plan.
    #[schema(example = 1_234_567_890_u64, required = true)]
    pub memory_bytes: u64,
    /// How long its latest load took, in seconds; null if it was not loaded yet.
    #[schema(example = 2.3)]
    pub load_seconds: Option<f64>,
    /// Why it could not be loaded, while it can't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

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
