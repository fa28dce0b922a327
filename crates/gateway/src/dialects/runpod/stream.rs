//! `GET /v2/{model}/stream/{id}`: what a job has generated since the last call.
//!
//! The client sends no position, so the server remembers it: in a record beside the task, which any
//! gateway reads.

use actix_web::{HttpRequest, HttpResponse, web};
use protocol::{BlobId, Event, EventBody, EventSeq, Outcome, Part, TaskId, TaskSnapshot, TenantId};
use queue::ContentHash;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::job::find;
use super::reply;
use crate::extract::Caller;
use crate::records::Records;
use crate::refusal::Refusal;
use crate::state::State;
use crate::validate::FieldError;

const RECORDS: Records = Records { purpose: ".runpod-stream" };
/// Maximum number of events per read.
const BATCH: usize = 1024;

/// The part of a job's text that was returned.
#[derive(Default, Serialize, Deserialize)]
struct Position {
    bytes: usize,
    /// The SHA-256 of these bytes, by which another attempt's text is recognized.
    hash: String,
}

/// Returns the text that was generated since the last call. A job that has ended has no further
/// text after the call that returns its last.
pub(super) async fn stream(
    caller: Caller,
    path: web::Path<(String, String)>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let snapshot = find(&caller, &path.1, &request, &state).await?;
    let id = snapshot.task.id;
    let position = RECORDS.load::<Position>(&state, caller.tenant(), position_id(id)).await?;
    let is_known = position.is_some();
    let position = position.unwrap_or_default();
    let text = text_so_far(&state, &snapshot).await?;
    let new = match text.split_at_checked(position.bytes) {
        Some((old, new)) if position.bytes == 0 || hash(old) == position.hash => new,
        // A later attempt generates the same text again, and has not come as far.
        None if snapshot.outcome.is_none() => "",
        Some(_) | None => {
            let message = "another attempt generated another text; GET status has it";
            return Err(Refusal::interrupted(message));
        }
    };
    let mut pieces = Vec::new();
    if !new.is_empty() {
        let position = Position { bytes: text.len(), hash: hash(&text) };
        if is_known {
            RECORDS.delete(&state, caller.tenant(), position_id(id)).await?;
        }
        save(&state, caller.tenant(), id, &position).await?;
        pieces.push(reply::piece(new));
    }
    Ok(HttpResponse::Ok().json(json!({
        "id": id, "status": reply::status(&snapshot), "stream": pieces,
    })))
}

async fn save(
    state: &State,
    tenant: &TenantId,
    id: TaskId,
    position: &Position,
) -> Result<(), Refusal> {
    let ttl_s = state.options.result_ttl_s;
    let saved = RECORDS.save(state, tenant, position_id(id), ttl_s, position).await?;
    saved.map_err(|error| {
        let message = format!("the position of the stream can't be stored: {error}");
        let problem = FieldError::new(["path".into(), "id".into()], "value_error", message);
        Refusal::invalid(vec![problem])
    })
}

/// Returns the text of a job as far as it is generated. A long answer loses its first events; its
/// text is returned when it has ended.
async fn text_so_far(state: &State, snapshot: &TaskSnapshot) -> Result<String, Refusal> {
    match &snapshot.outcome {
        Some(Outcome::Completed(completion)) => return Ok(completion.first.text.clone()),
        Some(Outcome::Failed(_) | Outcome::Cancelled { .. }) | None => {}
    }
    let (mut text, mut after) = (String::new(), EventSeq::START);
    loop {
        let events = state.broker.events(snapshot.task.id, after, BATCH);
        let events = state.ask(events).await?;
        let Some(last) = events.last().map(|event| event.seq) else { return Ok(text) };
        let is_whole = events.first().is_some_and(|first| first.seq.get() == after.get() + 1);
        if !is_whole {
            return Ok(String::new());
        }
        events.iter().for_each(|event| append(&mut text, event));
        after = last;
    }
}

/// Appends the text of an event. A new attempt begins anew.
fn append(text: &mut String, event: &Event) {
    match &event.body {
        EventBody::Started { .. } => text.clear(),
        EventBody::Token { chunk, .. } => match &chunk.parts {
            None => text.push_str(&chunk.text),
            Some(parts) => {
                for part in parts {
                    if let Part::Text { text: new } = part {
                        text.push_str(new);
                    }
                }
            }
        },
        EventBody::Queued | EventBody::Requeued { .. } | EventBody::Ended { .. } => {}
    }
}

fn hash(text: &str) -> String {
    ContentHash::of(text.as_bytes()).to_string()
}

/// Returns the id of a job's position, which is not the task's own, because a task may have another
/// record under that.
fn position_id(id: TaskId) -> BlobId {
    BlobId::from(Uuid::from_u128(!id.as_uuid().as_u128()))
}
