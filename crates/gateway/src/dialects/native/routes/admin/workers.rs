//! `GET /admin/workers` and `POST /admin/workers/{worker_id}/drain`.

use actix_web::{HttpResponse, web};
use protocol::{GpuReport, ModelReport, Timestamp, WorkerId, WorkerReport};
use serde::Serialize;
use utoipa::ToSchema;

use crate::extract::Operator;
use crate::operators::{GpuReply, ServedReply, WorkerReply};
use crate::refusal::Refusal;
use crate::schemas::{AdminErrors, ErrorReply, InvalidReply};
use crate::state::State;

/// The workers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkersReply {
    /// Those that reported lately, the longest-serving first.
    workers: Vec<WorkerReply>,
}

/// Returns all workers as of now: operators see the effect of their act at once.
pub(super) async fn live_workers(state: &State) -> Result<Vec<WorkerReply>, Refusal> {
    let mut workers = state.ask(state.broker.workers()).await?;
    workers.sort_by_key(|worker| (worker.started_at, worker.id));
    Ok(workers.into_iter().map(WorkerReply::from).collect())
}

impl From<WorkerReport> for WorkerReply {
    fn from(report: WorkerReport) -> Self {
        Self {
            deaf: report.is_deaf(),
            id: report.id.to_string(),
            host: report.host,
            pid: report.pid,
            version: report.version,
            model: report.model.as_str().to_owned(),
            quantization: report.quantization,
            device: report.device,
            status: report.status.as_str().to_owned(),
            running: report.running,
            capacity: report.capacity,
            finished: report.finished,
            started_at: report.started_at.as_millis(),
            last_seen: report.reported_at.map(Timestamp::as_millis),
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
            model: served.model.as_str().to_owned(),
            parent: served.parent.map(|parent| parent.as_str().to_owned()),
            quantization: served.quantization,
            state: served.state.as_str().to_owned(),
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
    Ok(HttpResponse::Ok().json(WorkersReply { workers: live_workers(&state).await? }))
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
