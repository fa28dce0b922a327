//! `POST /v1/messages/count_tokens`.

use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::body::read_to_count;
use crate::body::read_chat;
use crate::dialects::openai::request::model_name;
use crate::extract::Submitter;
use crate::follow::Call;
use crate::follow::answer::Answer;
use crate::idempotency;
use crate::refusal::Refusal;
use crate::state::State;

/// Counts the input tokens of a message that is not generated.
pub(super) async fn count_tokens(
    caller: Submitter,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let began = Instant::now();
    let state = state.into_inner();
    let options = &state.options;
    let body = read_chat(&request, payload, &state).await?;
    let model = state.resolve(model_name(&body)?).await?;
    let mut order = read_to_count(&body, model, options).map_err(Refusal::invalid)?;
    let idempotency = idempotency::of(request.headers(), "messages/count_tokens", &body)?;
    body.leave_to(&mut order);
    let call = Call::submit(&request, &state, &caller, order, idempotency, began).await?;
    call.respond(|snapshot| {
        let (_, usage) = Answer::all(snapshot)?;
        Ok(json!({"input_tokens": usage.prompt_tokens}))
    })
    .await
}
