//! `GET /status/{task_id}`: returns a task's state.

use actix_web::{HttpRequest, HttpResponse, web};

use super::{describe, task_after_wait};
use crate::extract::Caller;
use crate::refusal::Refusal;
use crate::replies::StatusReply;
use crate::schemas::TaskErrors;
use crate::state::State;

/// Get a task's status
///
/// With `?wait=` the response is sent when the task has ended, or after that many seconds.
#[utoipa::path(
    get,
    path = "/status/{task_id}",
    tag = "tasks",
    params(
        ("task_id" = uuid::Uuid, Path, description = "The id that `POST /generate` returned."),
        ("wait" = Option<u32>, Query, minimum = 0, maximum = 60,
            description = "The maximum number of seconds to wait for the task's end."),
    ),
    responses(
        (status = 200, description = "The task's state.", body = StatusReply),
        TaskErrors,
    )
)]
pub(crate) async fn status(
    caller: Caller,
    id: web::Path<String>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let snapshot = task_after_wait(&caller, &id, &request, &state).await?;
    Ok(HttpResponse::Ok().json(describe(&snapshot)))
}
