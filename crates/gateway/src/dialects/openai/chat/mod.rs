//! `POST /v1/chat/completions`.

mod body;
mod reply;
mod stream;

use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, web};
use protocol::ModelId;
use serde_json::Value;

pub(in crate::dialects) use self::body::ChatRequest;
use super::request;
use crate::batches::LineRequest;
use crate::body::read_chat;
use crate::extract::Submitter;
use crate::follow::Call;
use crate::idempotency;
use crate::options::Options;
use crate::refusal::Refusal;
use crate::skill_requests;
use crate::state::State;
use crate::validate::FieldError;

/// Reads a chat of a batch.
pub(super) fn batched(
    body: &Value,
    model: ModelId,
    options: &Options,
) -> Result<LineRequest, Refusal> {
    let asked = ChatRequest::read(body, model, options).map_err(Refusal::invalid)?;
    if asked.skill.is_some() {
        let message = "not supported in batches: send the request to /v1/chat/completions";
        let problem =
            FieldError::new(["body".into(), "skill".into()], "unsupported_parameter", message);
        return Err(Refusal::invalid(vec![problem]));
    }
    Ok(LineRequest::of_one(asked.order, reply::completion))
}

/// Answers a chat: at once as one object when the task has ended, or as a stream.
pub(super) async fn create(
    caller: Submitter,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let began = Instant::now();
    let state = state.into_inner();
    let options = &state.options;
    let body = read_chat(&request, payload, &state).await?;
    let model = state.resolve(Some(request::required_model(&body)?)).await?;
    let mut asked = ChatRequest::read(&body, model, options).map_err(Refusal::invalid)?;
    let idempotency = idempotency::of(request.headers(), "chat", &body)?;
    body.leave_to(&mut asked.order);
    let ChatRequest { mut order, skill, sets_length, stream, include_usage } = asked;
    if let Some((name, values)) = skill {
        let at = ["body".into(), "skill".into()];
        skill_requests::rewrite(&state, &mut order, (&name, &values), &at, sets_length).await?;
    }
    let model = order.model.clone();
    let call = Call::submit(&request, &state, &caller, order, idempotency, began).await?;
    if stream && !call.is_asynchronous() {
        return stream::respond(call, model, include_usage).await;
    }
    call.respond(reply::completion).await
}
