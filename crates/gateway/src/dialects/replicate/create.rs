//! `POST /v1/predictions` and `POST /v1/models/{owner}/{name}/predictions`.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use protocol::ModelId;

use super::body;
use super::record::Record;
use super::reply::Links;
use crate::body::{TaskBody, read_chat};
use crate::extract::Submitter;
use crate::follow::{Attended, Waited, for_end};
use crate::hangup::ClientEnd;
use crate::idempotency;
use crate::middleware::Notes;
use crate::refusal::Refusal;
use crate::state::State;
use crate::submit::submit;
use crate::validate::preferred_wait;

/// The wait of `Prefer: wait`, in seconds.
const WAIT_S: u32 = 60;

/// Creates a prediction by the model that `version` names.
pub(super) async fn create(
    caller: Submitter,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let state = state.into_inner();
    let body = read_chat(&request, payload, &state).await?;
    let named = body::version(&body).map_err(Refusal::invalid)?.to_owned();
    let model = state.resolve(Some(&named)).await?;
    respond(&state, caller, &request, body, named, model).await
}

/// Creates a prediction by the model that the path names: with its owner, or without.
pub(super) async fn create_of_model(
    caller: Submitter,
    path: web::Path<(String, String)>,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let state = state.into_inner();
    let body = read_chat(&request, payload, &state).await?;
    let (owner, name) = path.into_inner();
    let named = format!("{owner}/{name}");
    let model = match state.served(&named).await? {
        Some(model) => model,
        None => match state.served(&name).await? {
            Some(model) => model,
            None => state.resolve(Some(&named)).await?,
        },
    };
    respond(&state, caller, &request, body, named, model).await
}

/// Creates the prediction and waits for its end, as long as the client prefers. It goes on if the
/// client leaves.
async fn respond(
    state: &Arc<State>,
    caller: Submitter,
    request: &HttpRequest,
    mut body: TaskBody,
    named: String,
    model: ModelId,
) -> Result<HttpResponse, Refusal> {
    let mut order = body::read(&body, model, &state.options).map_err(Refusal::invalid)?;
    let idempotency = idempotency::of(request.headers(), "predictions", &body)?;
    let record = Record::new(named, order.model.to_string(), body["input"].take());
    body.leave_to(&mut order);
    let ttl_s = order.queueing.result_ttl_s;
    let submitted = submit(state, &caller, order, idempotency).await?.submitted;
    let id = submitted.task_id;
    Notes::of(&mut request.extensions_mut()).task_id = Some(id);
    // If the record can't be stored, dropping this cancels the task.
    let mut attended = Attended::new(state, &submitted);
    if submitted.created {
        record.save(state, caller.tenant(), id, ttl_s).await?;
    }
    attended.release();
    let patience = Duration::from_secs(patience(request).into());
    let ended = match patience.is_zero() {
        true => None,
        false => match for_end(state, &ClientEnd::of(request), id, patience).await? {
            Waited::Ended(snapshot) => Some(*snapshot),
            Waited::NotYet | Waited::HungUp => None,
        },
    };
    let snapshot = match ended {
        Some(snapshot) => snapshot,
        None => state.task(caller.tenant(), id).await?,
    };
    let mut prediction = Links::of(request).prediction(&record, &snapshot);
    if snapshot.outcome.is_none() {
        // Replicate's client polls only then, and takes any other status for the end.
        prediction["status"] = "starting".into();
    }
    Ok(HttpResponse::Created().json(prediction))
}

/// Returns how long the client waits, in seconds: `Prefer: wait` or `Prefer: wait=10`.
fn patience(request: &HttpRequest) -> u32 {
    let headers = request.headers().get_all("prefer");
    let headers: Vec<&str> = headers.filter_map(|value| value.to_str().ok()).collect();
    let is_bare = |preference: &str| preference.trim().eq_ignore_ascii_case("wait");
    let is_bare = headers.iter().flat_map(|header| header.split(',')).any(is_bare);
    let preferred = preferred_wait(headers.iter().copied());
    preferred.unwrap_or(if is_bare { WAIT_S } else { 0 })
}
