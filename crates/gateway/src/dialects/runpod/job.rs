//! `GET /v2/{model}/status/{id}` and `POST /v2/{model}/cancel/{id}`: the state of a job.

use std::time::Duration;

use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use protocol::TaskSnapshot;
use queue::CancelReply;

use super::reply;
use crate::extract::{Caller, Submitter};
use crate::follow::for_end;
use crate::hangup::ClientEnd;
use crate::middleware::Notes;
use crate::refusal::Refusal;
use crate::state::State;

/// Maximum time that a cancellation waits for the worker to stop: RunPod's client waits for 3 s.
const CANCEL_PATIENCE: Duration = Duration::from_secs(2);

/// Returns a job.
pub(super) async fn status(
    caller: Caller,
    path: web::Path<(String, String)>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let snapshot = find(&caller, &path.1, &request, &state).await?;
    Ok(HttpResponse::Ok().json(reply::job(&snapshot)))
}

/// Cancels a job. One that has ended stays as it is.
pub(super) async fn cancel(
    caller: Submitter,
    path: web::Path<(String, String)>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let snapshot = find(&caller, &path.1, &request, &state).await?;
    let id = snapshot.task.id;
    if let CancelReply::Requested = state.ask(state.broker.cancel(id)).await? {
        for_end(&state, &ClientEnd::of(&request), id, CANCEL_PATIENCE).await?;
    }
    let snapshot = state.task(caller.tenant(), id).await?;
    Ok(HttpResponse::Ok().json(reply::job(&snapshot)))
}

/// Returns the caller's task, and notes it for the log.
pub(super) async fn find(
    caller: &Caller,
    id: &str,
    request: &HttpRequest,
    state: &State,
) -> Result<TaskSnapshot, Refusal> {
    let snapshot = state.task(caller.tenant(), id.parse()?).await?;
    Notes::of(&mut request.extensions_mut()).task_id = Some(snapshot.task.id);
    Ok(snapshot)
}
