//! `GET /admin/overview`: summarizes all queues and workers.

use actix_web::{HttpResponse, web};
use protocol::Lane;
use queue::{Batch, QueueOverview};

use super::workers::live_workers;
use crate::extract::Operator;
use crate::operators::{BatchReply, LanesReply, OverviewReply, QueueReply};
use crate::refusal::Refusal;
use crate::schemas::AdminErrors;
use crate::state::State;

/// Maximum number of batches that are listed.
const BATCHES: usize = 20;

impl From<Batch> for BatchReply {
    fn from(batch: Batch) -> Self {
        Self {
            batch_id: format!("batch_{}", batch.request.id.as_uuid().simple()),
            status: batch.state.as_str().to_owned(),
            total: batch.total,
            completed: batch.completed,
            failed: batch.failed(),
            created_at: batch.created_at.as_millis(),
            expires_at: batch.expires_at.as_millis(),
            tenant: batch.request.tenant.as_str().to_owned(),
            endpoint: batch.request.endpoint,
        }
    }
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
            model: queue.model.as_str().to_owned(),
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
        at: overview.at.as_millis(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        queues: overview.queues.into_iter().map(QueueReply::from).collect(),
        queued_bytes: overview.queued_bytes,
        dead_letters: overview.dead_letters,
        webhooks_pending: overview.webhooks_pending,
        batches_running,
        batches: batches.into_iter().map(BatchReply::from).collect(),
        workers: live_workers(&state).await?,
    }))
}
