//! `POST /v1/responses/input_tokens`.

use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::body::ResponseRequest;
use super::create::read;
use crate::extract::Submitter;
use crate::follow::Call;
use crate::follow::answer::Answer;
use crate::refusal::Refusal;
use crate::state::State;

/// Counts the input tokens of a response that is not created.
pub(super) async fn input_tokens(
    caller: Submitter,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let began = Instant::now();
    let state = state.into_inner();
    let (asked, idempotency) =
        read(caller.tenant(), &request, payload, &state, "responses/input_tokens").await?;
    let ResponseRequest { order, .. } = asked;
    let order = order.into_count();
    let call = Call::submit(&request, &state, &caller, order, idempotency, began).await?;
    call.respond(|snapshot| {
        let (_, usage) = Answer::all(snapshot)?;
        Ok(json!({"object": "response.input_tokens", "input_tokens": usage.prompt_tokens}))
    })
    .await
}
