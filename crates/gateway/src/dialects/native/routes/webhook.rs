//! `GET /webhook/{task_id}`: returns the delivery state of a task's webhook.

use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use protocol::TaskId;
use queue::{Tried, TryResult, WebhookReport, WebhookState};
use serde::Serialize;
use utoipa::ToSchema;
use webhooks::payload::rfc3339;

use crate::extract::Caller;
use crate::middleware::Notes;
use crate::refusal::Refusal;
use crate::schemas::{ErrorReply, InvalidReply, KeyErrors};
use crate::state::State;

/// Where a task's webhook stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebhookReply {
    /// The task.
    #[schema(value_type = String, format = "uuid")]
    task_id: TaskId,
    /// `waiting` for the task's end, `pending` (a try is due or follows), `delivered` or `given_up`.
    #[schema(value_type = String, example = "delivered")]
    state: WebhookState,
    /// Where to, as the task named it, in its normal form.
    #[schema(example = "https://example.org/hook")]
    url: String,
    /// When the next try is due, if one follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time", example = "2025-11-21T15:30:50.123Z")]
    next_at: Option<String>,
    /// The tries so far, in order; the latest 16.
    tries: Vec<TryReply>,
}

/// One try. It has either a `status` or an `error`.
#[derive(Debug, Serialize, ToSchema)]
struct TryReply {
    /// Which one, from 1. One whose process died is missing.
    #[schema(minimum = 1, example = 1)]
    number: u32,
    /// When it ended.
    #[schema(format = "date-time", example = "2025-11-21T15:30:45.300Z")]
    at: String,
    /// How long it took, in milliseconds.
    #[schema(minimum = 0, example = 120)]
    took_ms: u64,
    /// The HTTP status that the receiver answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 100, maximum = 999, example = 200)]
    status: Option<u16>,
    /// Why there was no answer that counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl WebhookReply {
    fn new(task_id: TaskId, report: WebhookReport) -> Self {
        Self {
            task_id,
            state: report.state,
            url: report.url,
            next_at: report.next_at.map(rfc3339),
            tries: report.tries.into_iter().map(TryReply::from).collect(),
        }
    }
}

impl From<Tried> for TryReply {
    fn from(tried: Tried) -> Self {
        let (status, error) = match tried.result {
            TryResult::Status(status) => (Some(status), None),
            TryResult::Error(error) => (None, Some(error)),
        };
        let Tried { number, took_ms, .. } = tried;
        Self { number, at: rfc3339(tried.at), took_ms, status, error }
    }
}

/// Get the state of a task's webhook
///
/// For tasks that were submitted with a `webhook_url`. The state is kept for a day after the delivery
/// or the last try.
#[utoipa::path(
    get,
    path = "/webhook/{task_id}",
    tag = "tasks",
    params(("task_id" = uuid::Uuid, Path, description = "The id that `POST /generate` returned.")),
    responses(
        (status = 200, description = "The state, and all tries.", body = WebhookReply),
        (status = 404, description = "This key has no task with this id and a webhook.", body = ErrorReply),
        (status = 422, description = "The id is not a UUID.", body = InvalidReply),
        (status = 503, description = "The queue is unavailable; try again (`Retry-After`).", body = ErrorReply),
        KeyErrors,
    )
)]
pub(crate) async fn webhook(
    caller: Caller,
    id: web::Path<String>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let task_id: TaskId = id.parse()?;
    let report = state.ask(state.broker.webhook(task_id.into())).await?;
    let own = report.filter(|report| report.tenant == *caller.tenant());
    let report = own.ok_or_else(|| not_found(task_id))?;
    Notes::of(&mut request.extensions_mut()).task_id = Some(task_id);
    Ok(HttpResponse::Ok().json(WebhookReply::new(task_id, report)))
}

fn not_found(task_id: TaskId) -> Refusal {
    Refusal::not_found(
        "webhook for this key",
        format!(
            "No webhook of task {task_id} is known: the task named no webhook_url, the delivery was \
             settled more than a day ago, or the task belongs to another key"
        ),
    )
}
