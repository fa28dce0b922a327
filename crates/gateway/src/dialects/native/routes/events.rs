//! `GET /events/{task_id}`: streams a task's events as server-sent events.

use actix_web::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use protocol::EventSeq;

use super::super::sse;
use super::note_task;
use crate::extract::Caller;
use crate::follow::Feed;
use crate::hangup::ClientEnd;
use crate::refusal::Refusal;
use crate::route::query_value;
use crate::schemas::TaskErrors;
use crate::state::State;
use crate::validate::{FieldError, echo};

const LAST_EVENT_ID: &str = "last-event-id";
const AFTER: &str = "after";

/// Stream a task's events
///
/// Returns server-sent events, each with a number (`id:`), a name (`event:`) and JSON (`data:`):
/// `queued`, `started` (a new `attempt` discards the text of the previous one), `token` (the texts
/// concatenate to the answer; with `enable_thinking` or `tools`, `parts` has the reasoning, text and
/// calls that this text completes, in order: `{"kind": "reasoning" | "text", "text": …}` or
/// `{"kind": "tool_call", "call": …}`), `requeued`, and at the end `completed`, `failed` or `cancelled`,
/// whose data is the body of `GET /result`. Then the stream ends. While nothing happens, a comment is
/// sent every few seconds. After a lost connection, continue with `Last-Event-ID`, as browsers do
/// by themselves.
#[utoipa::path(
    get,
    path = "/events/{task_id}",
    tag = "tasks",
    params(
        ("task_id" = uuid::Uuid, Path, description = "The id that `POST /generate` returned."),
        ("after" = Option<u64>, Query, description = "Returns only events after this number."),
        ("Last-Event-ID" = Option<u64>, Header, description = "The same; takes precedence over `after`."),
    ),
    responses(
        (status = 200, description = "The events.", body = String,
            content_type = "text/event-stream"),
        (status = 204, description = "The task has ended, and it has no event after that number."),
        TaskErrors,
    )
)]
pub(crate) async fn events(
    caller: Caller,
    id: web::Path<String>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let after = resume_after(&request)?;
    let snapshot = state.task(caller.tenant(), id.parse()?).await?;
    note_task(&request, &snapshot);
    let task_id = snapshot.task.id;
    if snapshot.state.is_terminal() {
        let rest = state.ask(state.broker.events(task_id, after, 1)).await?;
        if rest.is_empty() {
            return Ok(HttpResponse::NoContent().finish()); // tells browsers not to come again
        }
    }
    let feed = Feed::new(state.into_inner(), task_id, after, ClientEnd::of(&request));
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, HeaderValue::from_static("text/event-stream")))
        // Disables buffering in nginx and other proxies.
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"))
        .streaming(sse::stream(feed)))
}

/// Returns the event number after which to resume. The `Last-Event-ID` header takes precedence over
/// the query, which a browser repeats unchanged when it reconnects.
fn resume_after(request: &HttpRequest) -> Result<EventSeq, Refusal> {
    let header = request.headers().get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or("?"));
    let after = query_value(request, AFTER);
    let (place, name, given) = match (header, after.as_deref()) {
        (Some(given), _) if !given.is_empty() => ("header", LAST_EVENT_ID, given),
        (_, Some(given)) => ("query", AFTER, given),
        _ => return Ok(EventSeq::START),
    };
    given.parse().map(EventSeq::new).map_err(|_| {
        Refusal::invalid(vec![FieldError::new(
            [place.into(), name.into()],
            "int_parsing",
            format!("expected the number of an event, 0 or more, got '{}'", echo(given)),
        )])
    })
}
