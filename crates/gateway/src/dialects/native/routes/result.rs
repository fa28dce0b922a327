//! `GET /result/{task_id}`: returns a task's outcome.

use actix_web::http::header::RETRY_AFTER;
use actix_web::{HttpRequest, HttpResponse, web};

use super::{describe, task_after_wait};
use crate::extract::Caller;
use crate::refusal::Refusal;
use crate::replies::{ResultReply, StatusReply};
use crate::reuse;
use crate::schemas::TaskErrors;
use crate::state::State;

/// The recommended polling interval, in seconds.
const POLL_S: u32 = 1;

/// Get a task's result
///
/// Returns 202 while the task has not ended; with `?wait=`, only after that many seconds. A failed task is
/// returned with status 200 and `"status": "error"`.
#[utoipa::path(
    get,
    path = "/result/{task_id}",
    tag = "tasks",
    params(
        ("task_id" = uuid::Uuid, Path, description = "The id that `POST /generate` returned."),
        ("wait" = Option<u32>, Query, minimum = 0, maximum = 60,
            description = "The maximum number of seconds to wait for the task's end."),
    ),
    responses(
        (status = 200, description = "The task has ended: `completed`, `error` or `cancelled`.",
            body = ResultReply,
            headers(("X-Cache" = String, description = "`hit` if the answer came from the result cache, `miss` if it \
                                                      was computed since it was not there; missing if it was not \
                                                      searched."))),
        (status = 202, description = "The task is still `queued` or `processing`.",
            body = StatusReply,
            headers(("Retry-After" = u32, description = "The number of seconds after which to poll again."))),
        TaskErrors,
    )
)]
pub(crate) async fn result(
    caller: Caller,
    id: web::Path<String>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let snapshot = task_after_wait(&caller, &id, &request, &state).await?;
    Ok(match ResultReply::of(&snapshot) {
        Some(reply) => {
            let mut response = HttpResponse::Ok();
            if let Some(status) = reuse::status([&snapshot]) {
                response.insert_header(status);
            }
            response.json(reply)
        }
        None => {
            HttpResponse::Accepted().insert_header((RETRY_AFTER, POLL_S)).json(describe(&snapshot))
        }
    })
}
