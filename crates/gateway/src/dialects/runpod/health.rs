//! `GET /v2/{model}/health`: the state of an endpoint.

use actix_web::{HttpResponse, web};
use protocol::WorkerStatus;
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
    let (mut initializing, mut ready, mut running) = (0, 0, 0);
    for worker in workers.iter().filter(|worker| worker.serves().any(|served| *served == model)) {
        match worker.status {
            WorkerStatus::Loading => initializing += 1,
            WorkerStatus::Ready => ready += 1,
            WorkerStatus::Draining => {}
        }
        running += u32::from(worker.running > 0);
    }
    let idle = workers.iter().filter(|worker| {
        worker.status == WorkerStatus::Ready
            && worker.running == 0
            && worker.serves().any(|served| *served == model)
    });
    Ok(HttpResponse::Ok().json(json!({
        "jobs": {"inProgress": depth.processing, "inQueue": depth.queued},
        "workers": {
            "idle": idle.count(), "initializing": initializing, "ready": ready, "running": running,
            "throttled": 0, "unhealthy": 0,
        },
    })))
}
