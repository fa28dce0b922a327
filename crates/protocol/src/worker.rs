//! The reports of workers, for `/health`, `top` and routing.

use serde::{Deserialize, Serialize};

use crate::{ModelId, Timestamp, VisionFamily, WorkerId};

/// A worker's report. Workers renew it every few seconds; without renewal it expires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerReport {
    /// The id of this run of the worker.
    pub id: WorkerId,
    /// The machine's name.
    pub host: String,
    /// The process id on that machine.
    pub pid: u32,
    /// The software's version.
    pub version: String,
    /// The model it serves; the first if it serves several.
    pub model: ModelId,
    /// The weight format of that model, e.g. `Q4_K_M`.
    pub quantization: String,
    /// The device that computes, e.g. `cpu`, `cuda:0` or `cuda:0,cpu`.
    pub device: String,
    /// The worker's status.
    pub status: WorkerStatus,
    /// The number of tasks it runs now.
    pub running: u32,
    /// The number of tasks it can run concurrently.
    pub capacity: u32,
    /// The number of tasks it has ended since its start.
    pub finished: u64,
    /// When it started, by its own clock.
    pub started_at: Timestamp,
    /// When it made this report: by its own clock when it is sent, by the queue's when it is read. `None`
    /// if the worker's version does not send it.
    #[serde(default)]
    pub reported_at: Option<Timestamp>,
    /// The number of log lines that its process lost since its start.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub log_lines_lost: u64,
    /// The GPUs that it computes on and whose figures the driver reports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<GpuReport>,
    /// All models it serves, including the first; empty if the worker's version serves only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelReport>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The driver's figures of a GPU, which include other processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuReport {
    /// Its index on its machine, as in `nvidia-smi`.
    pub id: u32,
    /// Memory in use, in bytes.
    pub memory_used_bytes: u64,
    /// Total memory, in bytes.
    pub memory_total_bytes: u64,
    /// The share of the last sampling period in which it computed, in percent.
    pub utilization_percent: u32,
}

/// A worker that has a model in memory and runs none of its tasks asks the queue for tasks every second. One that has
/// not asked for this long is deaf.
const DEAF_AFTER_MS: u64 = 30_000;

impl WorkerReport {
    /// Whether it reports, but has stopped asking the queue for tasks of a loaded model. Only a restart helps.
    pub fn is_deaf(&self) -> bool {
        self.status == WorkerStatus::Ready && self.models.iter().any(ModelReport::is_deaf)
    }

    /// Returns the names of all models it serves, loaded or not.
    pub fn serves(&self) -> impl Iterator<Item = &ModelId> {
        let first = self.models.is_empty().then_some(&self.model);
        first.into_iter().chain(self.models.iter().map(|served| &served.model))
    }

    /// Whether it has a model in memory.
    pub fn has_loaded(&self, model: &ModelId) -> bool {
        if self.models.is_empty() {
            return self.model == *model && self.status != WorkerStatus::Loading;
        }
        let is_it = |served: &&ModelReport| served.model == *model;
        self.models.iter().find(is_it).is_some_and(|served| served.state.is_loaded())
    }

    /// Returns the weight format of a model, or `None` if the worker does not serve it.
    pub fn quantization_of(&self, model: &ModelId) -> Option<&str> {
        let mut served = self.models.iter().filter(|served| served.model == *model);
        match served.next() {
            Some(served) => Some(&served.quantization),
            None => (self.model == *model).then_some(&*self.quantization),
        }
    }
}

/// A model that a worker serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelReport {
    /// The model.
    pub model: ModelId,
    /// The base model, if this is an adapter. Both share an engine and its slots: the figures of
    /// tasks and memory are those of both together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ModelId>,
    /// The weight format, e.g. `Q4_K_M`.
    pub quantization: String,
    /// Whether it is in memory.
    pub state: ModelState,
    /// The number of its tasks that run now.
    pub running: u32,
    /// The number of its tasks that can run concurrently once it is loaded; 0 while it cannot be
    /// loaded.
    pub capacity: u32,
    /// The maximum length of a sequence (prompt and answer), in tokens; `None` until it was loaded once, and if the
    /// worker's version does not report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u32>,
    /// Whether it takes images; `None` until it was loaded once, and if the worker's version does not report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<bool>,
    /// The family by which it sees; `None` if it takes no images, and until it was loaded once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<VisionFamily>,
    /// The memory it takes while loaded, in bytes, by the worker's plan.
    pub memory_bytes: u64,
    /// How long the latest load took, in milliseconds; `None` if it was never loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_ms: Option<u64>,
    /// The time since the worker last asked the queue for its tasks, in milliseconds; `None` while it is not in
    /// memory, and if the worker's version does not report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_claim_ms: Option<u64>,
    /// Why it cannot be loaded, if it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl ModelReport {
    /// Whether it could run tasks, but the worker does not ask for them. While tasks run, the worker may have no room
    /// for more.
    fn is_deaf(&self) -> bool {
        self.state == ModelState::Loaded
            && self.running == 0
            && self.since_claim_ms.is_some_and(|ms| ms >= DEAF_AFTER_MS)
    }
}

/// Whether a worker has a model in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelState {
    /// Not in memory. It is loaded when its tasks wait and there is room.
    Unloaded,
    /// Being loaded.
    Loading,
    /// In memory; its tasks are claimed.
    Loaded,
    /// About to be unloaded: running tasks finish, no more are claimed.
    Unloading,
    /// Loading failed; its tasks fail until loading is tried again.
    Failed,
}

impl ModelState {
    /// Whether the model is in memory.
    pub const fn is_loaded(self) -> bool {
        matches!(self, Self::Loaded | Self::Unloading)
    }

    /// Returns the name used in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unloaded => "unloaded",
            Self::Loading => "loading",
            Self::Loaded => "loaded",
            Self::Unloading => "unloading",
            Self::Failed => "failed",
        }
    }
}

/// The status of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerStatus {
    /// Loads its model and claims nothing yet.
    Loading,
    /// Claims and runs tasks.
    Ready,
    /// Finishes its tasks and claims no more.
    Draining,
}

impl WorkerStatus {
    /// Returns the status as it is serialized.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }
}
