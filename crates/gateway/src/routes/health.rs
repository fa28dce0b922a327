//! `GET /health` and `GET /ready`: how the service is.

use actix_web::http::header::RETRY_AFTER;
use actix_web::{HttpResponse, web};
use protocol::WorkerStatus;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::ApiError;
use crate::state::State;

/// How the service is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HealthReply {
    /// `healthy`, or `unhealthy` when the queue does not answer.
    #[schema(example = "healthy")]
    status: &'static str,
    /// Whether the queue answers, be it Redis or the embedded one.
    #[schema(example = true)]
    redis_connected: bool,
    /// Whether a live worker has the default model loaded.
    #[schema(example = true)]
    model_loaded: bool,
    /// The gateway's version.
    #[schema(example = "0.1.0")]
    version: &'static str,
    /// What the queue is: `redis` or `sqlite`.
    #[schema(example = "redis")]
    queue: &'static str,
    /// The default model.
    #[schema(example = "demo")]
    model: String,
    /// Workers that reported lately, whatever they serve.
    #[schema(example = 2)]
    workers: usize,
    /// Tasks of the default model that wait.
    #[schema(example = 0)]
    queued: u64,
    /// Tasks of the default model that workers hold.
    #[schema(example = 1)]
    processing: u64,
    /// Lines of this process's log files that wait in memory since they can't be written, as on a full
    /// disk.
    #[schema(example = 0)]
    log_lines_waiting: u64,
    /// Lines of this process's log files that were lost since its start.
    #[schema(example = 0)]
    log_lines_lost: u64,
    /// The same of the workers that reported lately; in `qwen-queue up`, where all is one process, its own.
    #[schema(example = 0)]
    workers_log_lines_lost: u64,
}

/// What was found out, and whether a worker would take a task now.
struct Finding {
    reply: HealthReply,
    ready: bool,
}

async fn examine(state: &State) -> Finding {
    let model = &state.options.default_model;
    let lines = state.options.log_counts.total();
    let mut reply = HealthReply {
        status: "unhealthy",
        redis_connected: false,
        model_loaded: false,
        version: env!("CARGO_PKG_VERSION"),
        queue: state.broker.name(),
        model: model.to_string(),
        workers: 0,
        queued: 0,
        processing: 0,
        log_lines_waiting: lines.waiting,
        log_lines_lost: lines.lost,
        workers_log_lines_lost: 0,
    };
    let broker = &state.broker;
    let found = async {
        broker.ping().await?;
        Ok((broker.workers().await?, broker.depth(model).await?))
    };
    match state.ask(found).await {
        Ok((workers, depth)) => {
            reply.status = "healthy";
            reply.redis_connected = true;
            reply.model_loaded = state.model_loaded(&workers);
            reply.workers = workers.len();
            reply.workers_log_lines_lost = workers.iter().map(|worker| worker.log_lines_lost).sum();
            (reply.queued, reply.processing) = (depth.queued, depth.processing);
            // One that has another model in memory takes the task too, and makes room for it.
            let ready = workers.iter().any(|worker| {
                worker.status == WorkerStatus::Ready
                    && worker.serves().any(|served| served == model)
            });
            Finding { reply, ready }
        }
        Err(error) => {
            // What is broken but reachable is no lost connection, yet no health either.
            reply.redis_connected = !matches!(error, ApiError::Unavailable(_));
            tracing::warn!(target: "gateway.health", "{error}");
            Finding { reply, ready: false }
        }
    }
}

fn answer(is_well: bool, reply: &HealthReply) -> HttpResponse {
    if is_well {
        HttpResponse::Ok().json(reply)
    } else {
        HttpResponse::ServiceUnavailable().insert_header((RETRY_AFTER, 5)).json(reply)
    }
}

/// Whether the service lives
///
/// 503 when the queue does not answer. A gateway without workers is healthy: it accepts tasks, and
/// they wait.
#[utoipa::path(
    get,
    path = "/health",
    tag = "service",
    security(()),
    responses(
        (status = 200, description = "The queue answers.", body = HealthReply),
        (status = 503, description = "The queue does not answer.", body = HealthReply),
    )
)]
pub(crate) async fn health(state: web::Data<State>) -> HttpResponse {
    let Finding { reply, .. } = examine(&state).await;
    answer(reply.status == "healthy", &reply)
}

/// Whether a task would start now
///
/// 200 when the queue answers and a worker with the default model takes tasks, else 503.
#[utoipa::path(
    get,
    path = "/ready",
    tag = "service",
    security(()),
    responses(
        (status = 200, description = "A worker takes tasks.", body = HealthReply),
        (status = 503, description = "No queue, or no worker with the default model.",
            body = HealthReply),
    )
)]
pub(crate) async fn ready(state: web::Data<State>) -> HttpResponse {
    let Finding { reply, ready } = examine(&state).await;
    answer(ready, &reply)
}
