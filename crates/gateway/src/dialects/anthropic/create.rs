//! `POST /v1/messages`.

use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, web};

use super::body::MessagesRequest;
use super::{reply, stream};
use crate::body::read_chat;
use crate::dialects::openai::request::model_name;
use crate::extract::Submitter;
use crate::follow::Call;
use crate::idempotency;
use crate::refusal::Refusal;
use crate::state::State;

/// Answers a conversation: at once as one message when the task has ended, or as a stream.
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
    let model = state.resolve(model_name(&body)?).await?;
    let mut asked = MessagesRequest::read(&body, model, options).map_err(Refusal::invalid)?;
    let idempotency = idempotency::of(request.headers(), "messages", &body)?;
    body.leave_to(&mut asked.order);
    let MessagesRequest { order, stream, reply } = asked;
    let model = order.model.clone();
    let call = Call::submit(&request, &state, &caller, order, idempotency, began).await?;
    if stream && !call.is_asynchronous() {
        return stream::respond(call, model, reply).await;
    }
    call.respond(move |snapshot| reply::message(snapshot, reply)).await
}
