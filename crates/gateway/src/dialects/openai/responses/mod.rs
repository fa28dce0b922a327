//! `/v1/responses`: creates responses, returns and streams stored ones, cancels and deletes them.
//! docs/RESPONSES.md says what is supported.
//!
//! | file        | contents |
//! |-------------|----------|
//! | `mod.rs`    | the routes of stored responses |
//! | `create.rs` | creates responses |
//! | `body.rs`   | reads the body of a request |
//! | `count.rs`  | counts input tokens |
//! | `items.rs`  | input items: reads them, converts them to messages |
//! | `reply.rs`  | formats a response and its output items |
//! | `stored.rs` | what is stored of a response beside its task |
//! | `stream.rs` | streams a response, from its beginning or after any event |
//! | `writer.rs` | the events of a stream |

mod body;
mod count;
mod create;
mod items;
mod reply;
mod stored;
mod stream;
mod writer;

use std::time::Duration;

use actix_web::web::ServiceConfig;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use protocol::{EventSeq, TaskId, TaskSnapshot, TenantId};
use serde_json::{Value, json};
use uuid::Uuid;

pub(super) use self::create::batched;
pub(in crate::dialects) use self::reply::webhook_body;
use self::stored::Stored;
use super::query::{invalid, number};
use super::request;
use crate::extract::{Caller, Submitter};
use crate::follow::for_end;
use crate::hangup::ClientEnd;
use crate::middleware::{Notes, log};
use crate::refusal::Refusal;
use crate::route::{get, no_such_path, post, query_value, reads, resource};
use crate::state::State;
use crate::validate::echo;

/// Maximum time that a cancellation waits for the worker to stop.
const CANCEL_PATIENCE: Duration = Duration::from_secs(3);
/// The number of input items of a page, and the largest one.
const PAGE: usize = 20;
const MAX_PAGE: usize = 100;

/// Registers the routes.
pub(super) fn configure(app: &mut ServiceConfig) {
    let work = log!("gateway.openai").work();
    let polls = log!("gateway.openai");
    app.service(post("/responses", work, create::create))
        .service(post("/responses/input_tokens", work, count::input_tokens))
        .service(get("/responses/{id}/input_items", polls, input_items))
        .service(post("/responses/{id}/cancel", work, cancel))
        .service(
            resource("/responses/{id}", polls, "GET, HEAD, DELETE")
                .route(web::route().guard(reads()).to(show))
                .route(web::delete().to(delete))
                // `compact`, which is not supported.
                .route(web::post().to(no_such_path)),
        );
}

/// Returns a stored response, or streams it.
async fn show(
    caller: Caller,
    name: web::Path<String>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let state = state.into_inner();
    let (stored, snapshot) = find(&state, caller.tenant(), &name, &request).await?;
    let streams = query_value(&request, "stream").is_some_and(|value| value == "true");
    if !streams {
        return Ok(HttpResponse::Ok().json(reply::response(&stored.echo, &snapshot)));
    }
    let after =
        query_value(&request, "starting_after").map(|after| number(&after, "starting_after"));
    let after = after.transpose()?;
    let task_id = snapshot.task.id;
    require_all_events(&state, task_id).await?;
    let client = ClientEnd::of(&request);
    Ok(stream::respond(HttpResponse::Ok(), state, client, None, task_id, stored.echo, after))
}

/// Cancels a response that runs in the background. One that has ended stays as it is.
async fn cancel(
    caller: Submitter,
    name: web::Path<String>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let (stored, snapshot) = find(&state, caller.tenant(), &name, &request).await?;
    if !stored.echo.background {
        let message = "only a response that was created with \"background\": true can be cancelled: \
                       to stop another one, close its connection";
        return Err(invalid("path", "response_id", "value_error", message));
    }
    let task_id = snapshot.task.id;
    if !snapshot.state.is_terminal() {
        state.ask(state.broker.cancel(task_id)).await?;
        for_end(&state, &ClientEnd::of(&request), task_id, CANCEL_PATIENCE).await?;
    }
    let snapshot = state.task(caller.tenant(), task_id).await?;
    Ok(HttpResponse::Ok().json(reply::response(&stored.echo, &snapshot)))
}

/// Deletes a stored response, and cancels its task if that has not ended.
async fn delete(
    caller: Submitter,
    name: web::Path<String>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let (_, snapshot) = find(&state, caller.tenant(), &name, &request).await?;
    let task_id = snapshot.task.id;
    if !snapshot.state.is_terminal() {
        state.ask(state.broker.cancel(task_id)).await?;
    }
    if !Stored::delete(&state, caller.tenant(), task_id).await? {
        return Err(no_such_response(&name));
    }
    let id = reply::response_id(task_id);
    Ok(HttpResponse::Ok().json(json!({"id": id, "object": "response", "deleted": true})))
}

/// Lists the input items of a stored response, with those of the responses that it continues.
async fn input_items(
    caller: Caller,
    name: web::Path<String>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let (stored, _) = find(&state, caller.tenant(), &name, &request).await?;
    let limit = match query_value(&request, "limit") {
        None => PAGE,
        Some(limit) => usize::try_from(number(&limit, "limit")?).unwrap_or(usize::MAX),
    };
    if !(1..=MAX_PAGE).contains(&limit) {
        let message = format!("must be an integer from 1 to {MAX_PAGE}, is {limit}");
        return Err(invalid("query", "limit", "value_error", message));
    }
    let mut items = stored.items;
    match query_value(&request, "order").as_deref() {
        None | Some("desc") => items.reverse(),
        Some("asc") => {}
        Some(other) => {
            let message = format!("must be asc or desc, is '{}'", echo(other));
            return Err(invalid("query", "order", "enum", message));
        }
    }
    if let Some(after) = query_value(&request, "after") {
        let Some(index) = items.iter().position(|item| item["id"] == *after) else {
            let message = format!("there is no item '{}'", echo(&after));
            return Err(invalid("query", "after", "value_error", message));
        };
        items.drain(..=index);
    }
    let has_more = items.len() > limit;
    items.truncate(limit);
    let id = |item: Option<&Value>| item.map(|item| item["id"].clone());
    let (first, last) = (id(items.first()), id(items.last()));
    Ok(HttpResponse::Ok().json(json!({
        "object": "list", "data": items, "first_id": first, "last_id": last, "has_more": has_more,
    })))
}

/// Returns a stored response and its task.
async fn find(
    state: &State,
    tenant: &TenantId,
    name: &str,
    request: &HttpRequest,
) -> Result<(Stored, TaskSnapshot), Refusal> {
    let task_id = task_id_of(name).ok_or_else(|| no_such_response(name))?;
    Notes::of(&mut request.extensions_mut()).task_id = Some(task_id);
    let stored = Stored::load(state, tenant, task_id).await?;
    let stored = stored.ok_or_else(|| no_such_response(name))?;
    Ok((stored, state.task(tenant, task_id).await?))
}

/// Checks that the first events of a task are still there: a long answer loses them, and the numbers
/// of its stream with them.
async fn require_all_events(state: &State, task_id: TaskId) -> Result<(), Refusal> {
    let first = state.ask(state.broker.events(task_id, EventSeq::START, 16)).await?;
    let is_whole = first.iter().zip(1..).all(|(event, expected)| event.seq.get() == expected);
    if is_whole {
        return Ok(());
    }
    let message = "the response is too long to be streamed again: get it without \"stream\"";
    Err(invalid("query", "stream", "value_error", message))
}

/// Returns the task of a response: `resp_` and the task's UUID without hyphens.
fn task_id_of(name: &str) -> Option<TaskId> {
    let hex = name.strip_prefix("resp_").filter(|hex| hex.len() == 32)?;
    Uuid::try_parse(hex).ok().map(TaskId::from)
}

fn no_such_response(name: &str) -> Refusal {
    Refusal::not_found("response", format!("Response with id '{}' not found.", echo(name)))
}
