//! `GET /admin/workers` and `POST /admin/workers/{worker_id}/drain`.

use actix_web::{HttpResponse, web};
use protocol::{GpuReport, ModelId, ModelReport, Timestamp, WorkerId, WorkerReport, WorkerStatus};
use serde::Serialize;
use utoipa::ToSchema;

use crate::extract::Operator;
use crate::refusal::Refusal;
use crate::schemas::{AdminErrors, ErrorReply, InvalidReply};
use crate::state::State;

/// The workers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkersReply {
    /// Those that reported lately, the longest-serving first.
    workers: Vec<WorkerReply>,
}

/// What a worker said of itself.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkerReply {
    /// This run of the worker; a restarted one has another.
    #[schema(value_type = String, format = "uuid")]
    id: WorkerId,
    /// The machine's name.
    #[schema(example = "gpu-7")]
    host: String,
    /// The process id there.
    #[schema(example = 4711)]
    pid: u32,
    /// The software's version.
    #[schema(example = "0.1.0")]
    version: String,
    /// The model it serves; the first, where it serves several.
    #[schema(value_type = String, example = "demo")]
    model: ModelId,
    /// Its weights' format.
    #[schema(example = "Q4_K_M")]
    quantization: String,
    /// Where it computes.
    #[schema(example = "cpu")]
    device: String,
    /// `loading` its model, `ready` for tasks, or `draining`: it ends what it has and takes no more.
    #[schema(value_type = String, example = "ready")]
    status: WorkerStatus,
    /// Tasks it runs now.
    #[schema(example = 1)]
    running: u32,
    /// Tasks it can run at once.
    #[schema(example = 4)]
    capacity: u32,
    /// Tasks it has ended since its start.
    #[schema(example = 17)]
    finished: u64,
    /// When it started, in milliseconds since 1970 on its own clock.
    #[schema(value_type = u64, example = 1_763_739_000_000_u64)]
    started_at: Timestamp,
    /// When it last reported, in milliseconds since 1970 on the queue's clock; null if that is not known.
    #[schema(value_type = Option<u64>, example = 1_763_739_045_000_u64)]
    last_seen: Option<Timestamp>,
    /// Lines of its process's log files that were lost since its start.
    #[schema(example = 0)]
    log_lines_lost: u64,
    /// The GPUs that it computes on; not there for a worker on the CPU, or where the driver tells nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gpus: Vec<GpuReply>,
    /// All the models it serves; empty if its version serves one.
    models: Vec<ServedReply>,
}

/// What the driver says of a GPU, whoever uses it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GpuReply {
    /// Its number on its machine, as `nvidia-smi` counts.
    #[schema(example = 0)]
    id: u32,
    /// Bytes of its memory in use.
    #[schema(example = 21_474_836_480_u64)]
    memory_used_bytes: u64,
    /// Bytes of its memory.
    #[schema(example = 150_754_820_096_u64)]
    memory_total_bytes: u64,
    /// How much of the last moment it computed, in percent.
    #[schema(example = 97)]
    utilization_percent: u32,
}

/// A model that a worker serves.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServedReply {
    /// The model.
    #[schema(value_type = String, example = "demo")]
    model: ModelId,
    /// The base that it adapts, if it is a LoRA adapter; the numbers are then those of both together.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    parent: Option<ModelId>,
    /// Its weights' format.
    #[schema(example = "Q4_K_M")]
    quantization: String,
    /// `unloaded`, `loading`, `loaded`, `unloading` (what runs goes on to its end) or `failed` (it could
    /// not be loaded; that is tried again a minute later).
    #[schema(example = "loaded")]
    state: &'static str,
    /// Its tasks that run now.
    #[schema(example = 1)]
    running: u32,
    /// How many of its tasks can run at once.
    #[schema(example = 4)]
    capacity: u32,
    /// What it takes of memory while it is loaded, in bytes, by the worker's plan.
    #[schema(example = 1_234_567_890_u64)]
    memory_bytes: u64,
    /// How long its latest load took, in seconds; null if it was not loaded yet.
    #[schema(example = 2.3)]
    load_seconds: Option<f64>,
    /// Why it could not be loaded, while it can't.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl WorkerReply {
    /// Returns all workers as of now: operators see the effect of their act at once.
    pub(super) async fn all(state: &State) -> Result<Vec<Self>, Refusal> {
        let mut workers = state.ask(state.broker.workers()).await?;
        workers.sort_by_key(|worker| (worker.started_at, worker.id));
        Ok(workers.into_iter().map(Self::from).collect())
    }
}

impl From<WorkerReport> for WorkerReply {
    fn from(report: WorkerReport) -> Self {
        Self {
            id: report.id,
            host: report.host,
            pid: report.pid,
            version: report.version,
            model: report.model,
            quantization: report.quantization,
            device: report.device,
            status: report.status,
            running: report.running,
            capacity: report.capacity,
            finished: report.finished,
            started_at: report.started_at,
            last_seen: report.reported_at,
            log_lines_lost: report.log_lines_lost,
            gpus: report.gpus.into_iter().map(GpuReply::from).collect(),
            models: report.models.into_iter().map(ServedReply::from).collect(),
        }
    }
}

impl From<GpuReport> for GpuReply {
    fn from(gpu: GpuReport) -> Self {
        let GpuReport { id, memory_used_bytes, memory_total_bytes, utilization_percent } = gpu;
        Self { id, memory_used_bytes, memory_total_bytes, utilization_percent }
    }
}

impl From<ModelReport> for ServedReply {
    fn from(served: ModelReport) -> Self {
        Self {
            model: served.model,
            parent: served.parent,
            quantization: served.quantization,
            state: served.state.as_str(),
            running: served.running,
            capacity: served.capacity,
            memory_bytes: served.memory_bytes,
            load_seconds: served.load_ms.map(|ms| ms as f64 / 1000.0),
            problem: served.problem,
        }
    }
}

/// List the workers
///
/// A worker reports every two seconds, and is listed for ten seconds after its last report.
#[utoipa::path(
    get,
    path = "/admin/workers",
    tag = "admin",
    security(("admin_key" = []), ("admin_bearer" = [])),
    responses(
        (status = 200, description = "The live workers.", body = WorkersReply),
        AdminErrors,
    )
)]
pub(crate) async fn workers(_: Operator, state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    Ok(HttpResponse::Ok().json(WorkersReply { workers: WorkerReply::all(&state).await? }))
}

/// A worker that was asked to drain.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DrainReply {
    /// The worker.
    #[schema(value_type = String, format = "uuid")]
    id: WorkerId,
    /// What it will do, in words.
    message: &'static str,
}

/// Drain a worker
///
/// Within two seconds the worker stops claiming tasks. It finishes its running tasks and exits with code 0.
/// A repeated request changes nothing.
#[utoipa::path(
    post,
    path = "/admin/workers/{worker_id}/drain",
    tag = "admin",
    security(("admin_key" = []), ("admin_bearer" = [])),
    params(("worker_id" = uuid::Uuid, Path, description = "The worker's `id` in `GET /admin/workers`.")),
    responses(
        (status = 202, description = "The worker is going to drain.", body = DrainReply),
        (status = 404, description = "There is no such worker: it has stopped, or never existed.", body = ErrorReply),
        (status = 422, description = "The id is not a UUID.", body = InvalidReply),
        AdminErrors,
    )
)]
pub(crate) async fn drain(
    operator: Operator,
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let id: WorkerId = id.parse()?;
    operator.acts("drain", id.to_string());
    if !state.ask(state.broker.drain_worker(id)).await? {
        return Err(Refusal::not_found(
            "worker",
            format!(
                "Worker {id} not found: it has stopped or never was; GET /admin/workers lists who is there"
            ),
        ));
    }
    let client = operator.client;
    tracing::info!(target: "gateway.admin", who = "admin", %client, worker = %id, "a worker is to drain");
    let message = "The worker takes no more tasks, ends those it has and stops";
    Ok(HttpResponse::Accepted().json(DrainReply { id, message }))
}
