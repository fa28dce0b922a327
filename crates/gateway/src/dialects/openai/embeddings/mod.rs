//! `POST /v1/embeddings`.

mod body;
mod reply;

use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, web};
use protocol::ModelId;
use serde_json::Value;

use self::body::EmbeddingRequest;
use super::request;
use crate::batches::LineRequest;
use crate::body::read_json;
use crate::extract::Submitter;
use crate::follow::Call;
use crate::idempotency;
use crate::options::Options;
use crate::refusal::Refusal;
use crate::state::State;

/// Reads a request of a batch.
pub(super) fn batched(
    body: &Value,
    model: ModelId,
    options: &Options,
) -> Result<LineRequest, Refusal> {
    let asked = EmbeddingRequest::read(body, model, options).map_err(Refusal::invalid)?;
    let encoding = asked.encoding;
    Ok(LineRequest::of_one(asked.order, move |ended| reply::embeddings(ended, encoding)))
}

/// Computes the embeddings of the inputs, all in one task.
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
    let asked = EmbeddingRequest::read(&body, model, options).map_err(Refusal::invalid)?;
    let idempotency = idempotency::of(request.headers(), "embeddings", &body)?;
    drop(body); // many requests may wait
    let EmbeddingRequest { order, encoding } = asked;
    let call = Call::submit(&request, &state, &caller, order, idempotency, began).await?;
    call.respond(move |snapshot| reply::embeddings(snapshot, encoding)).await
}
