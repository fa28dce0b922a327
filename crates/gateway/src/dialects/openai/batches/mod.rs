//! `/v1/batches`: creates, shows, lists and cancels batches. `crate::batches` runs them.
//! docs/BATCHES.md says what is supported.

mod body;
mod reply;
mod requests;

use actix_web::web::ServiceConfig;
use actix_web::{HttpRequest, HttpResponse, web};
use protocol::BatchId;
use queue::{BatchPage, BatchStep, Matches};
use serde_json::{Value, json};
use uuid::Uuid;

use self::body::BatchRequest;
pub(in crate::dialects) use self::requests::BatchRequests;
pub(super) use self::requests::ENDPOINTS;
use super::{files, query};
use crate::body::read_json;
use crate::extract::{Caller, Submitter};
use crate::idempotency;
use crate::middleware::log;
use crate::refusal::Refusal;
use crate::route::{get, post, reads, resource};
use crate::state::State;
use crate::validate::echo;

/// The number of batches of a page, and the largest one.
const PAGE: usize = 20;
const MAX_PAGE: usize = 100;

/// Registers the routes.
pub(super) fn configure(app: &mut ServiceConfig) {
    let work = log!("gateway.openai").work();
    let polls = log!("gateway.openai");
    app.service(
        resource("/batches", work, "GET, HEAD, POST")
            .route(web::route().guard(reads()).to(list))
            .route(web::post().to(create)),
    )
    .service(post("/batches/{id}/cancel", work, cancel))
    .service(get("/batches/{id}", polls, show));
}

/// Creates a batch of the requests in an uploaded file.
async fn create(
    caller: Submitter,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let options = &state.options;
    let limit = options.max_body_bytes();
    let body = read_json(&request, payload, limit, options.client_timeout).await?;
    let asked = BatchRequest::read(&body, &state.options).map_err(Refusal::invalid)?;
    let idempotency = idempotency::of(request.headers(), "batches", &body)?;
    let idempotency = idempotency.filter(|one| one.matches == Matches::Always);
    let new = asked.for_caller(caller.access(), idempotency.as_ref().map(|one| one.key.as_str()));
    let find = async {
        let found = state.blobs.find(&new.tenant, new.input).await?;
        let is_usable = found.is_some_and(|found| found.blob.purpose == files::BATCH);
        if is_usable {
            // The file has to live as long as the batch runs.
            state.blobs.touch(&new.tenant, new.input, new.window + body::INPUT_GRACE).await?;
        }
        Ok(is_usable)
    };
    if !state.ask(find).await? {
        return Err(body::no_input(&asked.input_name));
    }
    let batch = state.ask(state.broker.create_batch(&new)).await?;
    if batch.request != new {
        let message = "the key was used for another batch";
        return Err(query::invalid("header", "Idempotency-Key", "idempotency_key_reused", message));
    }
    state.new_batch.notify_one();
    Ok(HttpResponse::Ok().json(reply::batch(&batch)))
}

/// Lists the caller's batches, the newest first.
async fn list(
    caller: Caller,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let limit = query::limit(&request, PAGE, MAX_PAGE)?;
    let after = query::after(&request, batch_id_of)?;
    let page = BatchPage { after, limit };
    let found = state.ask(state.broker.batches(caller.tenant(), &page)).await?;
    let batches: Vec<Value> = found.batches.iter().map(reply::batch).collect();
    let id = |batch: Option<&Value>| batch.map(|batch| batch["id"].clone());
    Ok(HttpResponse::Ok().json(json!({
        "object": "list", "first_id": id(batches.first()), "last_id": id(batches.last()),
        "data": batches, "has_more": found.has_more,
    })))
}

/// Returns a batch.
async fn show(
    caller: Caller,
    name: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let id = batch_id_of(&name).ok_or_else(|| no_such_batch(&name))?;
    let batch = state.ask(state.broker.batch(caller.tenant(), id)).await?;
    let batch = batch.ok_or_else(|| no_such_batch(&name))?;
    Ok(HttpResponse::Ok().json(reply::batch(&batch)))
}

/// Cancels a batch. One that is ending or has ended stays as it is.
async fn cancel(
    caller: Submitter,
    name: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let id = batch_id_of(&name).ok_or_else(|| no_such_batch(&name))?;
    let step = state.broker.step_batch(caller.tenant(), id, &BatchStep::Cancel);
    let (batch, _) = state.ask(step).await?.ok_or_else(|| no_such_batch(&name))?;
    Ok(HttpResponse::Ok().json(reply::batch(&batch)))
}

/// Returns the id that a name stands for: `batch_` and the UUID without hyphens.
fn batch_id_of(name: &str) -> Option<BatchId> {
    let hex = name.strip_prefix("batch_").filter(|hex| hex.len() == 32)?;
    Uuid::try_parse(hex).ok().map(BatchId::from)
}

fn no_such_batch(name: &str) -> Refusal {
    let message = format!("No batch found with id '{}'.", echo(name));
    Refusal::not_found("batch", message)
}
