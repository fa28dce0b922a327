//! `/api/v1/skills`: lists skills, describes one, and runs one.

use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::batch;
use crate::body::read_task;
use crate::extract::{Caller, Submitter};
use crate::form::{Form, is_form};
use crate::idempotency;
use crate::middleware::Notes;
use crate::refusal::Refusal;
use crate::skill_requests;
use crate::state::State;
use crate::submit::submit_at;
use crate::waiting::Wait;

/// Lists all skills.
pub(super) async fn list(_caller: Caller, state: web::Data<State>) -> HttpResponse {
    let all = state.options.skills.all();
    let described: Vec<Value> = all.iter().map(|skill| skill.describe()).collect();
    HttpResponse::Ok().json(json!({"skills": described}))
}

/// Describes a skill.
pub(super) async fn show(
    _caller: Caller,
    name: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    Ok(HttpResponse::Ok().json(skill_requests::find(&state, &name)?.describe()))
}

/// Queues a task that the skill writes. Like `POST /generate`: a form waits for the result, JSON waits if it says so.
pub(super) async fn run(
    caller: Submitter,
    name: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let skill = skill_requests::find(&state, &name)?;
    let route = format!("skill {}", skill.name);
    let headers = request.headers();
    let is_form = is_form(headers);
    let (order, idempotency) = if is_form {
        let form = Form::read(&request, payload, &state).await?;
        let idempotency = idempotency::of_form(headers, &route, || form.identity())?;
        (form.into_order(&state, Some(&skill)).await?, idempotency)
    } else {
        let body = read_task(&request, payload, &state, state.options.max_body_bytes()).await?;
        let mut order = skill_requests::read(&state, &skill, &body, Vec::new()).await?;
        let idempotency = idempotency::of(headers, &route, &body)?;
        body.leave_to(&mut order);
        (order, idempotency)
    };
    let limit = state.options.common_limits.generate;
    let accepted = submit_at(limit, &state, &caller, order, idempotency).await?;
    Notes::of(&mut request.extensions_mut()).task_id = Some(accepted.submitted.task_id);
    let wait = match is_form {
        true => Wait::unless_asynchronous(&request, &state),
        false => Wait::as_preferred(&request),
    };
    wait.for_result(&state, &request, accepted).await
}

/// Runs a skill on each image of a form, in tasks of their own, and waits for all.
pub(super) async fn run_batch(
    caller: Submitter,
    name: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let state = state.into_inner();
    let skill = skill_requests::find(&state, &name)?;
    batch::respond(&caller, &request, payload, &state, Some(&skill)).await
}
