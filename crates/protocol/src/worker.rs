//! What a worker says of itself, for `/health`, `top` and routing.

use serde::{Deserialize, Serialize};

use crate::{ModelId, Timestamp, WorkerId};

/// One worker's report, renewed every few seconds; gone when it stops renewing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerReport {
    /// This run of the worker.
    pub id: WorkerId,
    /// The machine's name.
    pub host: String,
    /// The process id there.
    pub pid: u32,
    /// The software's version.
    pub version: String,
    /// The model it serves.
    pub model: ModelId,
    /// Its weights' format, e.g. `Q4_K_M`.
    pub quantization: String,
    /// Where it computes, e.g. `cpu` or `cuda:0`.
    pub device: String,
    /// What it is doing.
    pub status: WorkerStatus,
    /// Tasks it runs now.
    pub running: u32,
    /// Tasks it can run at once.
    pub capacity: u32,
    /// Tasks it has ended since its start.
    pub finished: u64,
    /// When it started, on its own clock.
    pub started_at: Timestamp,
    /// When it reported this, on its own clock; none from a version that did not say.
    #[serde(default)]
    pub reported_at: Option<Timestamp>,
    /// The GPU that it computes on, if it does and the driver tells of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuReport>,
}

/// What the driver says of a GPU, whoever uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuReport {
    /// Its number on its machine, as `nvidia-smi` counts.
    pub id: u32,
    /// Bytes of its memory in use.
    pub memory_used_bytes: u64,
    /// Bytes of its memory.
    pub memory_total_bytes: u64,
    /// How much of the last moment it computed, in percent.
    pub utilization_percent: u32,
}

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerStatus {
    /// Loads its model; claims nothing yet.
    Loading,
    /// Claims and runs.
    Ready,
    /// Finishes what it has; claims nothing more.
    Draining,
}
