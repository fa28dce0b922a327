//! `GET /admin/workers`: what workers say of themselves.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
    /// Whether it reports, but has not asked for tasks for 30 seconds though it runs none: restart it.
    #[schema(required = true)]
    pub deaf: bool,
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
