//! `GET /health` and `GET /ready`: report the state of the service.

use actix_web::http::header::RETRY_AFTER;
use actix_web::{HttpResponse, web};
use protocol::WorkerStatus;
use queue::{BrokerError, NO_ANSWER};
use serde::Serialize;
use utoipa::ToSchema;

use crate::refusal::Code;
use crate::state::State;

/// How the service is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HealthReply {
    /// `healthy`, or `unhealthy` when the queue does not answer or takes no tasks.
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
    /// How many of this process's four log files can't be written now.
    #[schema(example = 0)]
    log_files_failing: u64,
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
    /// Why the answer is 503; absent from a 200. The log has the whole reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "the queue's Redis is out of memory (maxmemory is reached)")]
    reason: Option<String>,
}

/// The health report, and whether a task would be accepted and claimed by a worker now.
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
        log_files_failing: lines.failing,
        log_lines_waiting: lines.waiting,
        log_lines_lost: lines.lost,
        workers_log_lines_lost: 0,
        reason: None,
    };
    let broker = &state.broker;
    let mut refusal = None;
    let found = async {
        let answers = async {
            broker.ping().await?;
            Ok::<_, BrokerError>((state.registry.try_workers().await?, broker.depth(model).await?))
        };
        let answers = answers.await.inspect_err(|error| refusal = Some(error.public_cause()))?;
        let accepts = broker.accepts().await;
        Ok((answers, accepts))
    };
    match state.ask(found).await {
        Ok(((workers, depth), accepts)) => {
            reply.redis_connected = true;
            match &accepts {
                Ok(()) => reply.status = "healthy",
                Err(error) => {
                    tracing::warn!(target: "gateway.health", "no task is accepted: {error}");
                    reply.reason = Some(error.public_cause().to_owned());
                }
            }
            reply.model_loaded = workers.iter().any(|worker| worker.has_loaded(model));
            reply.workers = workers.len();
            reply.workers_log_lines_lost = workers.iter().map(|worker| worker.log_lines_lost).sum();
            (reply.queued, reply.processing) = (depth.queued, depth.processing);
            // A worker with another model in memory counts too: it unloads that one to serve the
            // task.
            let mut serving = workers.iter().filter(|worker| {
                worker.status == WorkerStatus::Ready
                    && worker.serves().any(|served| served == model)
            });
            let ready = serving.clone().any(|worker| !worker.is_deaf());
            if let Some(deaf) = serving.next().filter(|_| !ready && reply.reason.is_none()) {
                reply.reason = Some(format!(
                    "the worker {} reports but does not ask for tasks of the model {model}: restart it",
                    deaf.id
                ));
            }
            Finding { reply, ready: ready && accepts.is_ok() }
        }
        Err(error) => {
            let cause = refusal.unwrap_or(NO_ANSWER);
            // A broken but reachable queue counts as connected, but not as healthy.
            reply.redis_connected = error.code != Code::Unavailable || cause != NO_ANSWER;
            reply.reason = Some(cause.to_owned());
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

/// Check that tasks are accepted
///
/// Returns 503 if the queue does not answer or takes no tasks, because its store is full, read-only or gone;
/// `reason` says why. A gateway without workers is healthy: it accepts tasks, and they wait. So is one whose queue
/// is full (429).
#[utoipa::path(
    get,
    path = "/health",
    tag = "service",
    security(()),
    responses(
        (status = 200, description = "The queue answers and takes tasks.", body = HealthReply),
        (status = 503, description = "The queue does not answer, or takes no tasks.",
            body = HealthReply),
    )
)]
pub(crate) async fn health(state: web::Data<State>) -> HttpResponse {
    let Finding { reply, .. } = examine(&state).await;
    answer(reply.status == "healthy", &reply)
}

/// Check that a task would start now
///
/// Returns 200 if the queue and a worker with the default model take tasks, else 503 with the `reason`.
#[utoipa::path(
    get,
    path = "/ready",
    tag = "service",
    security(()),
    responses(
        (status = 200, description = "A worker takes tasks.", body = HealthReply),
        (status = 503, description = "The queue takes no tasks, or no worker with the default model does.",
            body = HealthReply),
    )
)]
pub(crate) async fn ready(state: web::Data<State>) -> HttpResponse {
    let Finding { mut reply, ready } = examine(&state).await;
    if !ready && reply.reason.is_none() {
        reply.reason = Some(format!("no live worker takes tasks of the model {}", reply.model));
    }
    answer(ready, &reply)
}
