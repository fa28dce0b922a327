//! Formats a response: the object with the request's fields, and the items of its output.

use protocol::{
    ErrorType, FinishReason, Outcome, Sampling, TaskId, TaskSnapshot, TaskState, TokenLogprobs,
    Usage,
};
use queue::TaskEnd;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use webhooks::payload::openai_event;

use crate::follow::answer::{Answer, Call};

/// The fields of a request that its response repeats.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Echo {
    /// When the request was accepted, in seconds since 1970.
    pub(super) created_at: u64,
    /// Whether nobody waits for the response.
    pub(super) background: bool,
    /// Whether the answer may have several calls; otherwise only the first is returned.
    pub(super) parallel_tool_calls: bool,
    /// The sampling values that the request does not set.
    pub(super) unset: Vec<String>,
    /// The other fields, as they are returned.
    pub(super) fields: Map<String, Value>,
}

/// The sampling values that a response has, with those that are used if nothing sets them.
pub(super) const SAMPLING: [(&str, f64); 4] =
    [("temperature", 0.7), ("top_p", 0.9), ("presence_penalty", 0.0), ("frequency_penalty", 0.0)];

/// The progress of a response.
pub(super) struct Progress {
    pub(super) status: &'static str,
    pub(super) output: Vec<Value>,
    pub(super) usage: Option<Usage>,
    pub(super) error: Option<Value>,
    pub(super) completed_at: Option<u64>,
    pub(super) sampling_defaults: Sampling,
}

impl Progress {
    /// Returns a response without output.
    pub(super) fn bare(status: &'static str) -> Self {
        Self {
            status,
            output: Vec::new(),
            usage: None,
            error: None,
            completed_at: None,
            sampling_defaults: Sampling::default(),
        }
    }

    /// Returns the state of a task, without output.
    pub(super) fn of(snapshot: &TaskSnapshot) -> Self {
        let mut progress = Self::bare(status(snapshot));
        match &snapshot.outcome {
            None => return progress,
            Some(Outcome::Completed(completion)) => {
                progress.usage = Some(completion.usage);
                progress.sampling_defaults = completion.sampling_defaults.clone();
            }
            Some(Outcome::Failed(failed)) => {
                progress.error = Some(error(failed.error_type, &failed.message));
            }
            Some(Outcome::Cancelled { .. }) => {}
        }
        if progress.status == "completed" {
            progress.completed_at = snapshot.finished_at.map(|at| at.as_millis() / 1000);
        }
        progress
    }
}

/// Returns the status of a task's response.
pub(super) fn status(snapshot: &TaskSnapshot) -> &'static str {
    match (&snapshot.outcome, snapshot.state) {
        (Some(outcome), _) => end_status(outcome),
        (None, TaskState::Queued) => "queued",
        (None, _) => "in_progress",
    }
}

/// Returns the status of an ended task's response.
fn end_status(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Completed(completion) => match completion.first.finish_reason {
            FinishReason::Length => "incomplete",
            FinishReason::Stop => "completed",
        },
        Outcome::Failed(_) => "failed",
        Outcome::Cancelled { .. } => "cancelled",
    }
}

/// Formats the body of a webhook: an event that names the response and its status.
pub(in crate::dialects) fn webhook_body(end: &TaskEnd) -> Vec<u8> {
    let kind = format!("response.{}", end_status(&end.outcome));
    let response = response_id(end.task_id);
    openai_event(end.task_id.into(), end.finished_at, &kind, &response).into_bytes()
}

/// Formats the error of a failed response.
fn error(kind: ErrorType, message: &str) -> Value {
    let code = match kind {
        ErrorType::ContextLengthExceeded => "context_length_exceeded",
        ErrorType::InvalidRequest => "invalid_prompt",
        _ => "server_error",
    };
    json!({"code": code, "message": message})
}

/// Formats a task's response.
pub(super) fn response(echo: &Echo, snapshot: &TaskSnapshot) -> Value {
    let task_id = snapshot.task.id;
    let mut progress = Progress::of(snapshot);
    if let Some(Outcome::Completed(completion)) = &snapshot.outcome {
        progress.output = output(echo, task_id, &Answer::from(&completion.first));
    }
    object(echo, task_id, progress)
}

/// Formats a response, with all its keys.
pub(super) fn object(echo: &Echo, task_id: TaskId, progress: Progress) -> Value {
    let incomplete =
        (progress.status == "incomplete").then(|| json!({"reason": "max_output_tokens"}));
    let mut response = json!({
        "id": response_id(task_id),
        "object": "response",
        "created_at": echo.created_at,
        "completed_at": progress.completed_at,
        "status": progress.status,
        "background": echo.background,
        "error": progress.error,
        "incomplete_details": incomplete,
        "output": progress.output,
        "parallel_tool_calls": echo.parallel_tool_calls,
        "usage": progress.usage.map(usage),
    });
    for (name, value) in &echo.fields {
        response[name] = value.clone();
    }
    for name in &echo.unset {
        if let Some(number) = progress.sampling_defaults.get(name) {
            response[name] = number.json();
        }
    }
    response
}

/// Returns the id of a response, from the id of its task.
pub(super) fn response_id(task_id: TaskId) -> String {
    format!("resp_{}", task_id.as_uuid().simple())
}

/// Returns the id of an item of the output.
pub(super) fn item_id(prefix: &str, task_id: TaskId, index: usize) -> String {
    format!("{prefix}_{}{index:03}", task_id.as_uuid().simple())
}

fn usage(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens.saturating_add(usage.completion_tokens),
    })
}

/// Formats the output of a finished answer.
pub(super) fn output(echo: &Echo, task_id: TaskId, answer: &Answer) -> Vec<Value> {
    let mut output = Vec::new();
    let is_cut = answer.finish == FinishReason::Length;
    let calls = calls(echo, answer);
    let has_message = has_message(answer);
    if !answer.reasoning.is_empty() {
        let status = item_status(is_cut && !has_message && calls.is_empty());
        let id = item_id("rs", task_id, output.len());
        output.push(reasoning(&id, status, Some(&answer.reasoning)));
    }
    if has_message {
        let status = item_status(is_cut && calls.is_empty());
        let id = item_id("msg", task_id, output.len());
        let logprobs = answer.logprobs.as_ref().map_or(&[][..], |logprobs| &logprobs.content);
        output.push(message(&id, status, Some(text_part(&answer.text, logprobs))));
    }
    for call in calls {
        let id = item_id("fc", task_id, output.len());
        output.push(function_call(
            &id,
            "completed",
            &call_id(&id, call),
            &call.name,
            &call.arguments,
        ));
    }
    output
}

/// Returns whether an answer has a message: if it has text, or nothing else and was not cut.
pub(super) fn has_message(answer: &Answer) -> bool {
    let is_empty = answer.calls.is_empty() && answer.reasoning.is_empty();
    let ended_itself = answer.calls.is_empty() && answer.finish == FinishReason::Stop;
    !answer.text.is_empty() || is_empty || ended_itself
}

fn calls<'a>(echo: &Echo, answer: &'a Answer) -> &'a [Call] {
    match &answer.calls[..] {
        [first, _, ..] if !echo.parallel_tool_calls => std::slice::from_ref(first),
        calls => calls,
    }
}

/// Returns the status of an item that has ended.
pub(super) fn item_status(is_cut: bool) -> &'static str {
    if is_cut { "incomplete" } else { "completed" }
}

/// Returns a call's id; calls in records of older versions have none.
pub(super) fn call_id(item_id: &str, call: &Call) -> String {
    if call.id.is_empty() { item_id.replacen("fc_", "call_", 1) } else { call.id.clone() }
}

/// Formats a reasoning item; without `text`, at its beginning.
pub(super) fn reasoning(id: &str, status: &str, text: Option<&str>) -> Value {
    let summary: Vec<Value> = text.map(summary_part).into_iter().collect();
    json!({"id": id, "type": "reasoning", "status": status, "summary": summary})
}

pub(super) fn summary_part(text: &str) -> Value {
    json!({"type": "summary_text", "text": text})
}

/// Formats a message; without `part`, at its beginning.
pub(super) fn message(id: &str, status: &str, part: Option<Value>) -> Value {
    let content: Vec<Value> = part.into_iter().collect();
    json!({
        "id": id, "type": "message", "status": status, "role": "assistant", "content": content,
    })
}

pub(super) fn text_part(text: &str, logprobs: &[TokenLogprobs]) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs})
}

pub(super) fn function_call(
    id: &str,
    status: &str,
    call_id: &str,
    name: &str,
    arguments: &str,
) -> Value {
    json!({
        "id": id, "type": "function_call", "status": status, "call_id": call_id, "name": name,
        "arguments": arguments,
    })
}
