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
    /// The model it serves; the first, where it serves several.
    pub model: ModelId,
    /// That one's weights' format, e.g. `Q4_K_M`.
    pub quantization: String,
    /// Where it computes, e.g. `cpu`, `cuda:0` or `cuda:0,cpu`.
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
    /// When it reported this: on its own clock as it is sent, on the queue's as it is read; none from a version
    /// that did not say.
    #[serde(default)]
    pub reported_at: Option<Timestamp>,
    /// The GPUs that it computes on, of those that the driver tells of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<GpuReport>,
    /// All the models it serves, the first one included; none from a version that serves one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelReport>,
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

impl WorkerReport {
    /// The names of all the models it serves, or is about to.
    pub fn serves(&self) -> impl Iterator<Item = &ModelId> {
        let first = self.models.is_empty().then_some(&self.model);
        first.into_iter().chain(self.models.iter().map(|served| &served.model))
    }

    /// Whether it has a model in memory now.
    pub fn has_loaded(&self, model: &ModelId) -> bool {
        if self.models.is_empty() {
            return self.model == *model && self.status != WorkerStatus::Loading;
        }
        let is_it = |served: &&ModelReport| served.model == *model;
        self.models.iter().find(is_it).is_some_and(|served| served.state.is_loaded())
    }

    /// The weights' format of a model that it serves.
    pub fn quantization_of(&self, model: &ModelId) -> Option<&str> {
        let mut served = self.models.iter().filter(|served| served.model == *model);
        match served.next() {
            Some(served) => Some(&served.quantization),
            None => (self.model == *model).then_some(&*self.quantization),
        }
    }
}

/// One of the models that a worker serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelReport {
    /// The model.
    pub model: ModelId,
    /// The base that it adapts, if it is an adapter. The two share engine and room: what is said of the one's
    /// tasks and memory is said of both together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ModelId>,
    /// Its weights' format, e.g. `Q4_K_M`.
    pub quantization: String,
    /// Whether it is in memory.
    pub state: ModelState,
    /// Its tasks that run now.
    pub running: u32,
    /// How many of its tasks can run at once, once it is loaded; 0 while it can't be.
    pub capacity: u32,
    /// What it takes of memory while it is loaded, in bytes, by the worker's plan.
    pub memory_bytes: u64,
    /// How long its latest load took, in milliseconds; none if it was not loaded yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_ms: Option<u64>,
    /// Why it can't be loaded, while it can't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Whether a worker has a model in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelState {
    /// Not in memory; it will be once its tasks wait and there is room.
    Unloaded,
    /// Being loaded.
    Loading,
    /// In memory: its tasks are claimed.
    Loaded,
    /// On its way out: what runs goes on to its end, nothing more is claimed.
    Unloading,
    /// It could not be loaded; its tasks fail until that is tried again.
    Failed,
}

impl ModelState {
    /// Whether it is in memory.
    pub const fn is_loaded(self) -> bool {
        matches!(self, Self::Loaded | Self::Unloading)
    }

    /// Its name, as in records.
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
