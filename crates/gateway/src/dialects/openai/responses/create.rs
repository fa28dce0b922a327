//! Creates responses: at once, as streams, in the background, and in batches.

use std::sync::Arc;
use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, web};
use protocol::{ModelId, TaskSnapshot, TenantId};
use queue::Idempotency;
use serde_json::Value;

use super::body::ResponseRequest;
use super::items;
use super::reply::{self, Progress};
use super::stored::Stored;
use super::{request, stream, task_id_of};
use crate::batches::LineRequest;
use crate::body::read_chat;
use crate::dialects::openai::files::file_id;
use crate::dialects::openai::query::invalid;
use crate::extract::Submitter;
use crate::follow::Call;
use crate::follow::answer::Answer;
use crate::idempotency;
use crate::refusal::Refusal;
use crate::state::State;
use crate::validate::echo;

/// Creates a response: answers with it at once, as a stream, or (in the background) before it is
/// there.
pub(super) async fn create(
    caller: Submitter,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let began = Instant::now();
    let state = state.into_inner();
    let tenant = caller.tenant();
    let (asked, idempotency) = read(tenant, &request, payload, &state, "responses").await?;
    let ResponseRequest { order, stream, is_stored, mut stored } = asked;
    let ttl_s = order.queueing.result_ttl_s;
    let mut call = Call::submit(&request, &state, &caller, order, idempotency, began).await?;
    let task_id = call.head.submitted.task_id;
    let is_new = call.head.submitted.created;
    // If this fails, dropping the call cancels the task.
    if is_new && is_stored {
        let files: Vec<String> = call.head.images.iter().map(|id| file_id(*id)).collect();
        items::name_images(&mut stored.items, &files);
        stored.save(&state, tenant, task_id, ttl_s).await?;
    }
    let echo = stored.echo;
    if echo.background {
        call.attended.release();
    }
    if stream && !call.is_asynchronous() {
        let Call { state, head, client, attended, .. } = call;
        return Ok(stream::respond(
            head.response(),
            state,
            client,
            Some(attended),
            task_id,
            echo,
            None,
        ));
    }
    if echo.background {
        // Clients expect a response that has not ended, though a worker may be that fast.
        let response = if is_new {
            reply::object(&echo, task_id, Progress::bare("queued"))
        } else {
            reply::response(&echo, &state.task(tenant, task_id).await?)
        };
        return Ok(call.head.response().json(response));
    }
    let render = move |snapshot: &TaskSnapshot| {
        Answer::all(snapshot)?;
        Ok(reply::response(&echo, snapshot))
    };
    call.respond(render).await
}

/// Reads a request of a batch. Its response is in the batch's file, and is not stored beside.
pub(in crate::dialects::openai) async fn batched(
    state: &State,
    tenant: &TenantId,
    body: &Value,
    model: ModelId,
) -> Result<LineRequest, Refusal> {
    let ResponseRequest { order, stored, .. } = parse(state, tenant, body, model).await?;
    let mut echo = stored.echo;
    if echo.background {
        let message = "not supported in a batch, whose requests all run in the background";
        return Err(invalid("body", "background", "unsupported_parameter", message));
    }
    echo.fields.insert("store".to_owned(), Value::Bool(false));
    Ok(LineRequest::of_one(order, move |snapshot| {
        Answer::all(snapshot)?;
        Ok(reply::response(&echo, snapshot))
    }))
}

/// Reads the body of a request, and its idempotency key for this route.
pub(super) async fn read(
    tenant: &TenantId,
    request: &HttpRequest,
    payload: web::Payload,
    state: &Arc<State>,
    route: &'static str,
) -> Result<(ResponseRequest, Option<Idempotency>), Refusal> {
    let body = read_chat(request, payload, state).await?;
    let model = state.resolve(request::model_name(&body)?).await?;
    let mut asked = parse(state, tenant, &body, model).await?;
    let idempotency = idempotency::of(request.headers(), route, &body)?;
    body.leave_to(&mut asked.order);
    Ok((asked, idempotency))
}

/// Reads the body of a request whose model is resolved, and the conversation that it continues.
async fn parse(
    state: &State,
    tenant: &TenantId,
    body: &Value,
    model: ModelId,
) -> Result<ResponseRequest, Refusal> {
    let earlier = match body.get("previous_response_id").filter(|id| !id.is_null()) {
        Some(id) => conversation(state, tenant, id).await?,
        None => Vec::new(),
    };
    ResponseRequest::read(body, model, earlier, &state.options).map_err(Refusal::invalid)
}

/// Returns the items of a conversation up to the end of a response, which the next one continues.
async fn conversation(state: &State, tenant: &TenantId, id: &Value) -> Result<Vec<Value>, Refusal> {
    const FIELD: &str = "previous_response_id";
    let name = id.as_str().unwrap_or_default();
    let missing = || {
        let message = format!(
            "Previous response with id '{}' not found: it was created with \"store\": false, it has \
             expired or was deleted, or it belongs to another key",
            echo(name)
        );
        invalid("body", FIELD, "previous_response_not_found", message)
    };
    let task_id = task_id_of(name).ok_or_else(missing)?;
    let stored = Stored::load(state, tenant, task_id).await?.ok_or_else(missing)?;
    let snapshot = state.ask(state.broker.snapshot(task_id)).await?.ok_or_else(missing)?;
    let Ok((answers, _)) = Answer::all(&snapshot) else {
        let message = format!(
            "The response '{}' is {}: only one that has ended with an answer can be continued",
            echo(name),
            reply::status(&snapshot)
        );
        return Err(invalid("body", FIELD, "value_error", message));
    };
    let output = answers.first().map(|answer| reply::output(&stored.echo, task_id, answer));
    let mut items = stored.items;
    items.extend(output.unwrap_or_default());
    Ok(items)
}
