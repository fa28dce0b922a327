//! `GET /admin/overview`: summarizes all queues and workers.

use actix_web::{HttpResponse, web};
use protocol::{Lane, ModelId, TenantId, Timestamp};
use queue::{Batch, QueueOverview};
use serde::Serialize;
use utoipa::ToSchema;

use super::workers::WorkerReply;
use crate::extract::Operator;
use crate::refusal::Refusal;
use crate::schemas::AdminErrors;
use crate::state::State;

/// Maximum number of batches that are listed.
const BATCHES: usize = 20;

/// All queues, batches and workers at a glance.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OverviewReply {
    /// When, in milliseconds since 1970, on the queue's clock.
    #[schema(value_type = u64, example = 1_763_739_045_123_u64)]
    at: Timestamp,
    /// The gateway's version.
    #[schema(example = "0.1.0")]
    version: &'static str,
    /// Each model that was ever submitted to or paused, by name.
    queues: Vec<QueueReply>,
    /// Bytes of all queued tasks.
    #[schema(example = 12_345)]
    queued_bytes: u64,
    /// Dead letters that wait for an operator.
    #[schema(example = 0)]
    dead_letters: u64,
    /// Webhooks that have yet to be delivered or given up.
    #[schema(example = 0)]
    webhooks_pending: u64,
    /// Batches that have not ended.
    #[schema(example = 1)]
    batches_running: u64,
    /// Some of these; at most 20.
    batches: Vec<BatchReply>,
    /// The workers that reported lately.
    workers: Vec<WorkerReply>,
}

/// The progress of one batch.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchReply {
    /// Its id, as in `/v1/batches`.
    #[schema(example = "batch_0192f0c123457abc8def0123456789ab")]
    batch_id: String,
    /// Its owner.
    #[schema(value_type = String, example = "t-4f1c")]
    tenant: TenantId,
    /// The route of its requests.
    #[schema(example = "/v1/chat/completions")]
    endpoint: String,
    /// Its state.
    #[schema(example = "in_progress")]
    status: &'static str,
    /// Its lines; 0 until they are checked.
    #[schema(example = 10_000)]
    total: u32,
    /// Lines that ended with an answer.
    #[schema(example = 2_560)]
    completed: u32,
    /// Lines that ended with an error.
    #[schema(example = 0)]
    failed: u32,
    /// When it was created, in milliseconds since 1970.
    #[schema(value_type = u64, example = 1_763_739_045_123_u64)]
    created_at: Timestamp,
    /// When its time is over, in milliseconds since 1970.
    #[schema(value_type = u64, example = 1_763_825_445_123_u64)]
    expires_at: Timestamp,
}

impl From<Batch> for BatchReply {
    fn from(batch: Batch) -> Self {
        Self {
            batch_id: format!("batch_{}", batch.request.id.as_uuid().simple()),
            status: batch.state.as_str(),
            total: batch.total,
            completed: batch.completed,
            failed: batch.failed(),
            created_at: batch.created_at,
            expires_at: batch.expires_at,
            tenant: batch.request.tenant,
            endpoint: batch.request.endpoint,
        }
    }
}

/// One model's queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueReply {
    /// The model.
    #[schema(value_type = String, example = "demo")]
    model: ModelId,
    /// Whether its tasks are held back.
    paused: bool,
    /// Tasks that wait in each lane, without the delayed.
    queued: LanesReply,
    /// Tasks that wait for their time: submitted with a delay, or resting between attempts.
    #[schema(example = 0)]
    delayed: u64,
    /// Tasks that run.
    #[schema(example = 1)]
    processing: u64,
    /// Tasks that the ready workers can run at once.
    #[schema(example = 4)]
    capacity: u64,
    /// Average processing time of late, in seconds; null while none was measured.
    #[schema(example = 5.8)]
    service_seconds: Option<f64>,
    /// Tasks ended so far with a result.
    #[schema(example = 17)]
    completed: u64,
    /// Tasks ended so far with an error.
    #[schema(example = 0)]
    failed: u64,
    /// Tasks taken back so far.
    #[schema(example = 0)]
    cancelled: u64,
}

/// Tasks by lane.
#[derive(Debug, Default, Serialize, ToSchema)]
struct LanesReply {
    #[schema(example = 0)]
    high: u64,
    #[schema(example = 3)]
    normal: u64,
    #[schema(example = 0)]
    low: u64,
    #[schema(example = 0)]
    batch: u64,
}

impl From<QueueOverview> for QueueReply {
    fn from(queue: QueueOverview) -> Self {
        let mut queued = LanesReply::default();
        for (lane, count) in Lane::ALL.into_iter().zip(queue.queued) {
            *match lane {
                Lane::High => &mut queued.high,
                Lane::Normal => &mut queued.normal,
                Lane::Low => &mut queued.low,
                Lane::Batch => &mut queued.batch,
            } = count;
        }
        let measured = queue.service_ms > 0.0;
        Self {
            model: queue.model,
            paused: queue.paused,
            queued,
            delayed: queue.delayed,
            processing: queue.processing,
            capacity: queue.capacity,
            service_seconds: measured.then(|| queue.service_ms.round() / 1000.0),
            completed: queue.completed,
            failed: queue.failed,
            cancelled: queue.cancelled,
        }
    }
}

/// Get all queues and workers
///
/// Reads counters, so the cost does not depend on the length of the queues.
#[utoipa::path(
    get,
    path = "/admin/overview",
    tag = "admin",
    security(("admin_key" = []), ("admin_bearer" = [])),
    responses(
        (status = 200, description = "The counters of all queues, and the workers.", body = OverviewReply),
        AdminErrors,
    )
)]
pub(crate) async fn overview(
    _: Operator,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let overview = state.ask(state.broker.overview()).await?;
    let (batches, batches_running) = state.ask(state.broker.running_batches(BATCHES)).await?;
    Ok(HttpResponse::Ok().json(OverviewReply {
        at: overview.at,
        version: env!("CARGO_PKG_VERSION"),
        queues: overview.queues.into_iter().map(QueueReply::from).collect(),
        queued_bytes: overview.queued_bytes,
        dead_letters: overview.dead_letters,
        webhooks_pending: overview.webhooks_pending,
        batches_running,
        batches: batches.into_iter().map(BatchReply::from).collect(),
        workers: WorkerReply::all(&state).await?,
    }))
}
