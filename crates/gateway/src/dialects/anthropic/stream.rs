//! Streams a message as named events.

use actix_web::HttpResponse;
use protocol::{ModelId, TaskId, Usage};
use serde_json::{Value, json};

use super::error;
use super::reply::{self, Shown, Stop, UsageReply};
use crate::dialects::openai::sse::{self, Frames};
use crate::follow::answer::{Answer, AnswerStep, Call as FunctionCall, Delta, Piece};
use crate::follow::{AnswerStream, Call};
use crate::refusal::Refusal;

/// A content block to which pieces can be added.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Text,
    Thinking,
}

/// A stream that is being written.
struct MessageStream {
    answer: AnswerStream,
    task_id: TaskId,
    model: ModelId,
    /// The number of calls that may still be sent.
    calls_left: usize,
    shown: Shown,
    has_begun: bool,
    /// The block that is being written, if any.
    open: Option<Open>,
    /// The index of the block that is being written, or of the next one.
    index: usize,
}

/// Streams the answer.
pub(super) async fn respond(
    call: Call,
    model: ModelId,
    shown: Shown,
) -> Result<HttpResponse, Refusal> {
    let (head, answer) = AnswerStream::open(call).await?;
    let stream = MessageStream {
        answer,
        task_id: head.submitted.task_id,
        model,
        calls_left: shown.max_calls,
        shown,
        has_begun: false,
        open: None,
        index: 0,
    };
    Ok(sse::respond(head.response(), stream))
}

impl Frames for MessageStream {
    async fn next(&mut self) -> Option<String> {
        let step = self.answer.next().await?;
        let mut frames = String::new();
        self.begin(&mut frames);
        match step {
            AnswerStep::Deltas(deltas) => self.push_deltas(&mut frames, deltas),
            AnswerStep::Silence => push(&mut frames, "ping", json!({})),
            AnswerStep::Ended { rest, answers, snapshot } => {
                self.push_deltas(&mut frames, rest);
                self.close(&mut frames);
                let usage = snapshot.outcome.map(|outcome| outcome.usage()).unwrap_or_default();
                push_end(&mut frames, answers.first(), self.shown.of(usage));
            }
            AnswerStep::Failed(refusal) => {
                push(&mut frames, "error", error::body(&refusal));
            }
            AnswerStep::HungUp => return None,
        }
        Some(frames)
    }
}

impl MessageStream {
    /// Begins the message, unless it has begun. The prompt's length is not known yet.
    fn begin(&mut self, frames: &mut String) {
        if !self.has_begun {
            self.has_begun = true;
            let model = self.model.as_str();
            let message = reply::envelope(self.task_id, model, vec![], None, Usage::default());
            push(frames, "message_start", json!({"message": message}));
        }
    }

    fn push_deltas(&mut self, frames: &mut String, deltas: Vec<Delta>) {
        for Delta { piece, .. } in deltas {
            match piece {
                Piece::Text(text) | Piece::Reasoning(text) if text.is_empty() => {}
                Piece::Text(text) => {
                    self.open(frames, Open::Text);
                    self.push_delta(frames, json!({"type": "text_delta", "text": text}));
                }
                Piece::Reasoning(text) => {
                    self.open(frames, Open::Thinking);
                    self.push_delta(frames, json!({"type": "thinking_delta", "thinking": text}));
                }
                Piece::Call(call) if self.calls_left > 0 => self.push_call(frames, &call),
                Piece::Call(_) => {}
            }
        }
    }

    /// Opens a block of this kind, unless the open one is of the kind.
    fn open(&mut self, frames: &mut String, kind: Open) {
        if self.open == Some(kind) {
            return;
        }
        self.close(frames);
        self.open = Some(kind);
        self.push_start(
            frames,
            match kind {
                Open::Text => reply::text_block(""),
                Open::Thinking => reply::thinking_block(""),
            },
        );
    }

    /// Closes the open block, if any.
    fn close(&mut self, frames: &mut String) {
        let Some(kind) = self.open.take() else { return };
        if kind == Open::Thinking {
            self.push_delta(frames, json!({"type": "signature_delta", "signature": ""}));
        }
        self.push_stop(frames);
    }

    fn push_call(&mut self, frames: &mut String, call: &FunctionCall) {
        self.calls_left -= 1;
        self.close(frames);
        self.push_start(frames, reply::call_block(call, json!({})));
        let delta = json!({"type": "input_json_delta", "partial_json": call.arguments});
        self.push_delta(frames, delta);
        self.push_stop(frames);
    }

    fn push_start(&self, frames: &mut String, block: Value) {
        let data = json!({"index": self.index, "content_block": block});
        push(frames, "content_block_start", data);
    }

    fn push_delta(&self, frames: &mut String, delta: Value) {
        push(frames, "content_block_delta", json!({"index": self.index, "delta": delta}));
    }

    fn push_stop(&mut self, frames: &mut String) {
        push(frames, "content_block_stop", json!({"index": self.index}));
        self.index += 1;
    }
}

fn push_end(frames: &mut String, answer: Option<&Answer>, usage: Usage) {
    let stop = answer.map(Stop::of);
    let delta = json!({
        "stop_reason": stop.map(|stop| stop.reason),
        "stop_sequence": stop.and_then(|stop| stop.sequence),
        "stop_details": null,
        "container": null,
    });
    let data = json!({"delta": delta, "usage": UsageReply::from(usage)});
    push(frames, "message_delta", data);
    push(frames, "message_stop", json!({}));
}

/// Appends an event; its data names it again as `type`.
fn push(frames: &mut String, event: &str, mut data: Value) {
    data["type"] = event.into();
    frames.push_str(&format!("event: {event}\ndata: {data}\n\n"));
}
