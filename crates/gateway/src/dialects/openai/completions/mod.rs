//! `POST /v1/completions`: continues texts, without a chat template.

mod body;
mod reply;
mod stream;

use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, web};
use protocol::ModelId;
use queue::Idempotency;
use serde_json::Value;

use self::body::CompletionRequest;
use super::request;
use crate::batches::LineRequest;
use crate::body::read_json;
use crate::extract::Submitter;
use crate::follow::Call;
use crate::idempotency;
use crate::options::Options;
use crate::refusal::Refusal;
use crate::state::State;
use crate::submit::submit;

/// Reads a request of a batch.
pub(super) fn batched(
    body: &Value,
    model: ModelId,
    options: &Options,
) -> Result<LineRequest, Refusal> {
    let asked = CompletionRequest::read(body, model, options).map_err(Refusal::invalid)?;
    let CompletionRequest { orders, reply, .. } = asked;
    Ok(LineRequest { orders, render: Box::new(move |ended| reply.whole(ended)) })
}

/// Continues each prompt in a task of its own. Responds at once as one object when all have ended,
/// or as a stream.
pub(super) async fn create(
    caller: Submitter,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let began = Instant::now();
    let state = state.into_inner();
    let options = &state.options;
    let body =
        read_json(&request, payload, options.max_body_bytes(), options.client_timeout).await?;
    let model = state.resolve(request::model_name(&body)?).await?;
    let asked = CompletionRequest::read(&body, model, options).map_err(Refusal::invalid)?;
    let CompletionRequest { orders, reply, stream, include_usage } = asked;
    let mut call: Option<Call> = None;
    for (index, order) in orders.into_iter().enumerate() {
        let idempotency = idempotency_of(&request, index, &body)?;
        match &mut call {
            Some(call) => {
                call.join(&submit(&state, &caller, order, idempotency).await?.submitted);
            }
            None => {
                let first = Call::submit(&request, &state, &caller, order, idempotency, began);
                call = Some(first.await?);
            }
        }
    }
    drop(body); // many requests may wait
    let call = call.ok_or_else(|| Refusal::internal("a completion without prompts"))?;
    if stream && !call.is_asynchronous() {
        return stream::respond(&request, call, reply, include_usage).await;
    }
    call.respond_all(move |ended| reply.whole(ended)).await
}

/// Returns which earlier submit the task of a prompt may repeat. Each prompt has its own key.
fn idempotency_of(
    request: &HttpRequest,
    index: usize,
    body: &Value,
) -> Result<Option<Idempotency>, Refusal> {
    let of = idempotency::of(request.headers(), &format!("completions/{index}"), body)?;
    Ok(of.map(|of| match index {
        0 => of,
        // With a space, which no client's key has.
        _ => Idempotency { key: format!("{} {index}", of.key), ..of },
    }))
}
