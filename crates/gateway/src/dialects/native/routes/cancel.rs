//! `POST /cancel/{task_id}`: cancels a task.

use actix_web::{HttpRequest, HttpResponse, web};
use protocol::TaskState;
use queue::CancelReply;

use super::note_task;
use crate::extract::Submitter;
use crate::refusal::Refusal;
use crate::replies::StatusReply;
use crate::schemas::TaskErrors;
use crate::state::State;

/// Cancel a task
///
/// A queued task is cancelled at once. A running task stops within one step of the model (202; its
/// status becomes `cancelled` then). A task that has ended stays as it is.
#[utoipa::path(
    post,
    path = "/cancel/{task_id}",
    tag = "tasks",
    params(("task_id" = uuid::Uuid, Path, description = "The id that `POST /generate` returned.")),
    responses(
        (status = 200, description = "The task is cancelled, or has ended before.",
            body = StatusReply),
        (status = 202, description = "A worker runs the task, and is going to stop it.",
            body = StatusReply),
        TaskErrors,
    )
)]
pub(crate) async fn cancel(
    caller: Submitter,
    id: web::Path<String>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let snapshot = state.task(caller.tenant(), id.parse()?).await?;
    note_task(&request, &snapshot);
    let task_id = snapshot.task.id;

    let reply = state.ask(state.broker.cancel(task_id)).await?;
    let (mut response, status, message) = match reply {
        CancelReply::NotFound => return Err(state.no_task(caller.tenant(), task_id).await),
        CancelReply::Cancelled => {
            (HttpResponse::Ok(), TaskState::Cancelled, "The task was cancelled".to_owned())
        }
        CancelReply::Requested => (
            HttpResponse::Accepted(),
            TaskState::Processing,
            "Cancellation was requested; the worker is stopping".to_owned(),
        ),
        CancelReply::AlreadyEnded(state) => {
            (HttpResponse::Ok(), state, format!("The task had ended before: it is {state}"))
        }
    };
    Ok(response.json(StatusReply::new(status, task_id, message)))
}
