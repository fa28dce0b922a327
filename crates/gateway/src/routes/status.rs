//! `GET /status/{task_id}`: where a task stands.

use actix_web::{HttpRequest, HttpResponse, web};

use super::note_task;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::openapi::TaskErrors;
use crate::replies::StatusReply;
use crate::state::State;

/// Where a task stands
#[utoipa::path(
    get,
    path = "/status/{task_id}",
    tag = "tasks",
    params(("task_id" = uuid::Uuid, Path, description = "The id that `POST /generate` answered.")),
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
) -> Result<HttpResponse, ApiError> {
    let snapshot = state.task(&caller, &id).await?;
    note_task(&request, &snapshot);
    Ok(HttpResponse::Ok().json(StatusReply::of(&snapshot)))
}
