//! `GET /v2/{model}/health`: the state of an endpoint.

use actix_web::{HttpResponse, web};
use protocol::{WorkerReport, WorkerStatus};
use serde_json::json;

use crate::extract::Caller;
use crate::refusal::Refusal;
use crate::state::State;

/// Counts the jobs and the live workers of a model. Workers do not report failures of their own,
/// so none is unhealthy or throttled.
pub(super) async fn health(
    _: Caller,
    model: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let model = state.resolve(Some(&model)).await?;
    let depth = state.ask(state.broker.depth(&model)).await?;
    let workers = state.registry.workers().await?;
    let workers: Vec<&WorkerReport> =
        workers.iter().filter(|worker| worker.serves().any(|served| *served == model)).collect();
    let count = |is_so: &dyn Fn(&WorkerReport) -> bool| {
        workers.iter().filter(|worker| is_so(worker)).count()
    };
    let is_ready = |worker: &WorkerReport| worker.status == WorkerStatus::Ready;
    Ok(HttpResponse::Ok().json(json!({
        "jobs": {"inProgress": depth.processing, "inQueue": depth.queued},
        "workers": {
            "idle": count(&|worker| is_ready(worker) && worker.running == 0),
            "initializing": count(&|worker| worker.status == WorkerStatus::Loading),
            "ready": count(&is_ready),
            "running": count(&|worker| worker.running > 0),
            "throttled": 0,
            "unhealthy": 0,
        },
    })))
}
