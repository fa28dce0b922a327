//! `GET /metrics`: the metrics of this process, the queue and its workers.

use actix_web::HttpResponse;

use crate::extract::Operator;
use crate::schemas::AdminErrors;

/// Get metrics for Prometheus
///
/// Has the counters of this gateway, and what it reads of the queue and of workers, at most once a second. Succeeds
/// with `queue_up 0` if the queue does not answer.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "admin",
    security(("admin_key" = []), ("admin_bearer" = [])),
    responses(
        (status = 200, description = "The metrics, in Prometheus's text format.", body = String,
            content_type = "text/plain", example = "active_requests 1\n"),
        AdminErrors,
    )
)]
pub(crate) async fn metrics(_: Operator) -> HttpResponse {
    let text = service::metrics::install().render().await;
    HttpResponse::Ok().content_type(service::metrics::CONTENT_TYPE).body(text)
}
