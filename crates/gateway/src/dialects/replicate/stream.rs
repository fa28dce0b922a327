//! `GET /v1/predictions/{id}/stream`: streams the output of a prediction as server-sent events:
//! `output` for each piece of text, `error` if there is no whole output, and at the end `done`.

use actix_web::{HttpRequest, HttpResponse, web};
use protocol::EventSeq;
use serde_json::{Value, json};

use super::super::openai::sse::{self, Frames};
use super::record::find;
use crate::extract::Caller;
use crate::follow::Feed;
use crate::follow::answer::{AnswerFeed, AnswerStep, Delta, Piece};
use crate::hangup::ClientEnd;
use crate::refusal::{Code, Refusal};
use crate::state::State;

/// Streams the output from its beginning. The prediction goes on if the client leaves.
pub(super) async fn stream(
    caller: Caller,
    name: web::Path<String>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let state = state.into_inner();
    let (_, snapshot) = find(&state, caller.tenant(), &name, &request).await?;
    let (id, client) = (snapshot.task.id, ClientEnd::of(&request));
    let feed = AnswerFeed::new(Feed::new(state, id, EventSeq::START, client));
    Ok(sse::respond(HttpResponse::Ok(), OutputStream { feed, events: 0 }))
}

/// A stream that is being written.
struct OutputStream {
    feed: AnswerFeed,
    /// The number of events so far, by which they are named: Replicate's client skips events
    /// without an id.
    events: u64,
}

impl Frames for OutputStream {
    async fn next(&mut self) -> Option<String> {
        loop {
            let mut frames = String::new();
            match self.feed.next().await? {
                AnswerStep::Deltas(deltas) => self.push_deltas(&mut frames, &deltas),
                AnswerStep::Silence => frames.push_str(sse::KEEP_ALIVE),
                AnswerStep::Ended { rest, .. } => {
                    self.push_deltas(&mut frames, &rest);
                    self.push(&mut frames, "done", "{}");
                }
                AnswerStep::Failed(refusal) => self.push_failure(&mut frames, &refusal),
                AnswerStep::HungUp => return None,
            }
            // Reasoning leaves nothing to send.
            if !frames.is_empty() {
                return Some(frames);
            }
        }
    }
}

impl OutputStream {
    fn push_deltas(&mut self, frames: &mut String, deltas: &[Delta]) {
        for delta in deltas {
            if let Piece::Text(text) = &delta.piece {
                self.push(frames, "output", text);
            }
        }
    }

    fn push_failure(&mut self, frames: &mut String, refusal: &Refusal) {
        let reason = match refusal.code {
            Code::TaskCancelled => "canceled",
            _ => "error",
        };
        if reason == "error" {
            let detail: Value = json!({"detail": refusal.message});
            self.push(frames, "error", &detail.to_string());
        }
        self.push(frames, "done", &json!({"reason": reason}).to_string());
    }

    /// Appends an event. Each line of the text has a field `data` of its own. A carriage return would
    /// end the field, so it becomes a line end.
    fn push(&mut self, frames: &mut String, event: &str, text: &str) {
        self.events += 1;
        frames.push_str(&format!("event: {event}\nid: {}\n", self.events));
        for line in text.replace("\r\n", "\n").split(['\n', '\r']) {
            frames.push_str(&format!("data: {line}\n"));
        }
        frames.push('\n');
    }
}
