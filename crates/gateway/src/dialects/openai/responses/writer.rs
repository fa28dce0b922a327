//! [`Writer`]: the events of a response's stream, numbered from 0. Which events a task leads to
//! depends on nothing but the task, so a stream that is written again is the same.

use std::mem;

use protocol::{FinishReason, TaskId, TaskSnapshot, TokenLogprobs};
use serde_json::{Value, json};

use super::super::{error, sse};
use super::reply::{self, Echo, Progress};
use crate::follow::answer::{Answer, Call, Delta, Piece};
use crate::refusal::{Code, Refusal};

/// An item that is being written.
enum Open {
    Reasoning { id: String, text: String },
    Message { id: String, text: String, logprobs: Vec<TokenLogprobs> },
}

/// Writes the events.
pub(super) struct Writer {
    echo: Echo,
    task_id: TaskId,
    /// The number of the next event.
    next: u64,
    /// The number of the last event that the client has.
    after: Option<u64>,
    frames: String,
    is_in_progress: bool,
    /// The items that have ended.
    output: Vec<Value>,
    open: Option<Open>,
    calls: usize,
    /// Logprobs of tokens without text, for the next piece of text.
    logprobs: Vec<TokenLogprobs>,
}

impl Writer {
    /// Starts a stream of which the events up to number `after` are left out.
    pub(super) fn new(echo: Echo, task_id: TaskId, after: Option<u64>) -> Self {
        Self {
            echo,
            task_id,
            next: 0,
            after,
            frames: String::new(),
            is_in_progress: false,
            output: Vec::new(),
            open: None,
            calls: 0,
            logprobs: Vec::new(),
        }
    }

    /// Returns what was written since the last call.
    pub(super) fn take(&mut self) -> String {
        mem::take(&mut self.frames)
    }

    /// Writes the first events. A response in the background is queued until its first output.
    pub(super) fn begin(&mut self) {
        if self.echo.background {
            self.push_response("response.created", Progress::bare("queued"));
            self.push_response("response.queued", Progress::bare("queued"));
        } else {
            self.push_response("response.created", Progress::bare("in_progress"));
            self.start();
        }
    }

    /// Writes pieces of the answer.
    pub(super) fn push_deltas(&mut self, deltas: &[Delta]) {
        for Delta { choice, piece, logprobs } in deltas {
            if *choice != 0 {
                continue;
            }
            self.start();
            self.logprobs.extend_from_slice(logprobs);
            match piece {
                Piece::Reasoning(text) => self.push_reasoning(text),
                Piece::Text(text) if text.is_empty() => {}
                Piece::Text(text) => self.push_text(text),
                Piece::Call(call) => self.push_call(call),
            }
        }
    }

    /// Ends the stream with the whole answer.
    pub(super) fn end(&mut self, answer: &Answer, snapshot: &TaskSnapshot) {
        self.start();
        let is_written = matches!(self.open, Some(Open::Message { .. }))
            || self.output.iter().any(|item| item["type"] == "message");
        if reply::has_message(answer) && !is_written {
            self.open_message();
        }
        self.close(reply::item_status(answer.finish == FinishReason::Length));
        let progress = Progress { output: self.output.clone(), ..Progress::of(snapshot) };
        let name = match progress.status {
            "incomplete" => "response.incomplete",
            _ => "response.completed",
        };
        self.push_response(name, progress);
        self.frames.push_str(sse::DONE);
    }

    /// Ends the stream without an answer. `snapshot` is the task's if it has ended.
    pub(super) fn fail(&mut self, refusal: &Refusal, snapshot: Option<&TaskSnapshot>) {
        let mut progress = snapshot.map_or_else(|| Progress::bare("failed"), Progress::of);
        let is_cancelled = refusal.code == Code::TaskCancelled;
        if !is_cancelled {
            let error = error::error(refusal);
            self.push(
                "error",
                &[
                    ("code", error["code"].clone()),
                    ("message", error["message"].clone()),
                    ("param", error["param"].clone()),
                    ("error", error),
                ],
            );
            progress.status = "failed";
            progress
                .error
                .get_or_insert_with(|| json!({"code": "server_error", "message": refusal.message}));
        }
        progress.output = self.output.clone();
        let open = self.open.take();
        progress.output.extend(open.map(|open| item(&open, "incomplete")));
        self.push_response("response.failed", progress);
        self.frames.push_str(sse::DONE);
    }

    fn start(&mut self) {
        if !mem::replace(&mut self.is_in_progress, true) {
            self.push_response("response.in_progress", Progress::bare("in_progress"));
        }
    }

    fn push_reasoning(&mut self, text: &str) {
        if !matches!(self.open, Some(Open::Reasoning { .. })) {
            self.close("completed");
            let id = reply::item_id("rs", self.task_id, self.output.len());
            self.push_item(
                "response.output_item.added",
                &reply::reasoning(&id, "in_progress", None),
            );
            self.open = Some(Open::Reasoning { id, text: String::new() });
            let part = reply::summary_part("");
            self.push_summary("response.reasoning_summary_part.added", ("part", part));
        }
        self.push_summary("response.reasoning_summary_text.delta", ("delta", json!(text)));
        if let Some(Open::Reasoning { text: known, .. }) = &mut self.open {
            known.push_str(text);
        }
    }

    fn push_text(&mut self, text: &str) {
        if !matches!(self.open, Some(Open::Message { .. })) {
            self.open_message();
        }
        let new = mem::take(&mut self.logprobs);
        self.push_part(
            "response.output_text.delta",
            &[("delta", json!(text)), ("logprobs", json!(new))],
        );
        if let Some(Open::Message { text: known, logprobs, .. }) = &mut self.open {
            known.push_str(text);
            logprobs.extend(new);
        }
    }

    fn push_call(&mut self, call: &Call) {
        self.calls += 1;
        if self.calls > 1 && !self.echo.parallel_tool_calls {
            return;
        }
        self.close("completed");
        let Call { name, arguments, .. } = call;
        let index = self.output.len();
        let id = reply::item_id("fc", self.task_id, index);
        let call_id = reply::call_id(&id, call);
        let added = reply::function_call(&id, "in_progress", &call_id, name, "");
        self.push_item("response.output_item.added", &added);
        let of_item = [("item_id", json!(id)), ("output_index", json!(index))];
        let [item_id, output_index] = of_item.clone();
        let delta = [item_id, output_index, ("delta", json!(arguments))];
        self.push("response.function_call_arguments.delta", &delta);
        let [item_id, output_index] = of_item;
        let done = [item_id, output_index, ("name", json!(name)), ("arguments", json!(arguments))];
        self.push("response.function_call_arguments.done", &done);
        let item = reply::function_call(&id, "completed", &call_id, name, arguments);
        self.push_item("response.output_item.done", &item);
        self.output.push(item);
    }

    fn open_message(&mut self) {
        self.close("completed");
        let id = reply::item_id("msg", self.task_id, self.output.len());
        self.push_item("response.output_item.added", &reply::message(&id, "in_progress", None));
        self.open = Some(Open::Message { id, text: String::new(), logprobs: Vec::new() });
        let part = ("part", reply::text_part("", &[]));
        self.push_part("response.content_part.added", &[part]);
    }

    /// Ends the item that is being written, if any.
    fn close(&mut self, status: &str) {
        match &mut self.open {
            None => return,
            Some(Open::Reasoning { text, .. }) => {
                let text = text.clone();
                let part = reply::summary_part(&text);
                self.push_summary("response.reasoning_summary_text.done", ("text", json!(text)));
                self.push_summary("response.reasoning_summary_part.done", ("part", part));
            }
            Some(Open::Message { text, logprobs, .. }) => {
                logprobs.append(&mut self.logprobs);
                let (text, logprobs) = (text.clone(), logprobs.clone());
                let part = reply::text_part(&text, &logprobs);
                self.push_part(
                    "response.output_text.done",
                    &[("text", json!(text)), ("logprobs", json!(logprobs))],
                );
                self.push_part("response.content_part.done", &[("part", part)]);
            }
        }
        if let Some(open) = self.open.take() {
            let item = item(&open, status);
            self.push_item("response.output_item.done", &item);
            self.output.push(item);
        }
    }

    fn push_response(&mut self, name: &str, progress: Progress) {
        let response = reply::object(&self.echo, self.task_id, progress);
        self.push(name, &[("response", response)]);
    }

    fn push_item(&mut self, name: &str, item: &Value) {
        let index = json!(self.output.len());
        self.push(name, &[("output_index", index), ("item", item.clone())]);
    }

    /// Writes an event of the open item's summary.
    fn push_summary(&mut self, name: &str, field: (&str, Value)) {
        self.push_within(name, "summary_index", &[field]);
    }

    /// Writes an event of the open message's text.
    fn push_part(&mut self, name: &str, fields: &[(&str, Value)]) {
        self.push_within(name, "content_index", fields);
    }

    fn push_within(&mut self, name: &str, index: &str, fields: &[(&str, Value)]) {
        let id = match &self.open {
            Some(Open::Reasoning { id, .. } | Open::Message { id, .. }) => json!(id),
            None => Value::Null,
        };
        let place =
            [("item_id", id), ("output_index", json!(self.output.len())), (index, json!(0))];
        self.push(name, &[&place[..], fields].concat());
    }

    /// Writes an event, unless the client has it.
    fn push(&mut self, name: &str, fields: &[(&str, Value)]) {
        let number = self.next;
        self.next += 1;
        if self.after.is_some_and(|after| number <= after) {
            return;
        }
        let mut event = json!({"type": name, "sequence_number": number});
        for (name, value) in fields {
            event[*name] = value.clone();
        }
        self.frames.push_str("event: ");
        self.frames.push_str(name);
        self.frames.push('\n');
        sse::push(&mut self.frames, &event);
    }
}

/// Formats an item as far as it was written.
fn item(open: &Open, status: &str) -> Value {
    match open {
        Open::Reasoning { id, text } => reply::reasoning(id, status, Some(text)),
        Open::Message { id, text, logprobs } => {
            reply::message(id, status, Some(reply::text_part(text, logprobs)))
        }
    }
}
