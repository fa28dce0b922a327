//! Formats a whole message, and what streams have in common with it.

use protocol::{FinishReason, TaskId, TaskSnapshot, Usage};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::follow::answer::{Answer, Call, Piece};
use crate::refusal::Refusal;

/// Usage, as streams report it at their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct UsageReply {
    /// Tokens of the prompt, without those that are counted as read from the cache.
    input_tokens: u32,
    output_tokens: u32,
    cache_creation_input_tokens: u32,
    cache_read_input_tokens: u32,
    output_tokens_details: Option<()>,
    server_tool_use: Option<()>,
}

impl From<Usage> for UsageReply {
    fn from(usage: Usage) -> Self {
        Self {
            input_tokens: usage.prompt_tokens.saturating_sub(usage.cached_tokens),
            output_tokens: usage.completion_tokens,
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: usage.cached_tokens,
            output_tokens_details: None,
            server_tool_use: None,
        }
    }
}

/// Usage, as messages report it.
#[derive(Debug, Serialize)]
struct MessageUsage {
    #[serde(flatten)]
    usage: UsageReply,
    cache_creation: Option<()>,
    inference_geo: Option<()>,
    service_tier: &'static str,
}

/// The parts of an answer that a message shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    /// Maximum number of calls; those after it are left out.
    pub(super) max_calls: usize,
    /// Whether the usage counts tokens that were found in the cache apart from others.
    pub(super) cached_tokens: bool,
}

impl Shown {
    /// Returns the part of the usage that is shown.
    pub(super) fn of(self, usage: Usage) -> Usage {
        let cached_tokens = if self.cached_tokens { usage.cached_tokens } else { 0 };
        Usage { cached_tokens, ..usage }
    }
}

/// Formats an ended task.
pub(super) fn message(snapshot: &TaskSnapshot, shown: Shown) -> Result<Value, Refusal> {
    let (answers, usage) = Answer::all(snapshot)?;
    let answer = answers.first().ok_or_else(|| Refusal::internal("a task without an answer"))?;
    let is_call = |piece: &Piece| matches!(piece, Piece::Call(_));
    let (calls, others): (Vec<_>, Vec<_>) = answer.pieces().into_iter().partition(is_call);
    let content = others.iter().chain(calls.iter().take(shown.max_calls)).map(block).collect();
    let (id, model) = (snapshot.task.id, snapshot.task.model.as_str());
    Ok(envelope(id, model, content, Some(Stop::of(answer)), shown.of(usage)))
}

/// Formats a message around its content. In a stream, it has neither content nor a reason yet.
pub(super) fn envelope(
    task_id: TaskId,
    model: &str,
    content: Vec<Value>,
    stop: Option<Stop<'_>>,
    usage: Usage,
) -> Value {
    json!({
        "id": format!("msg_{}", task_id.to_string().replace('-', "")),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": stop.map(|stop| stop.reason),
        "stop_sequence": stop.and_then(|stop| stop.sequence),
        "stop_details": null,
        "container": null,
        "usage": MessageUsage {
            usage: usage.into(),
            cache_creation: None,
            inference_geo: None,
            service_tier: "standard",
        },
    })
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stop<'a> {
    pub(super) reason: &'static str,
    /// The stop sequence, if it is the reason.
    pub(super) sequence: Option<&'a str>,
}

impl<'a> Stop<'a> {
    /// Returns why an answer ended. A cut answer is `max_tokens`, even if it has a call, and one with a call is
    /// `tool_use`, even if a stop sequence followed.
    pub(super) fn of(answer: &'a Answer) -> Self {
        let sequence = answer.stop_sequence.as_deref();
        match (answer.finish, sequence) {
            (FinishReason::Length, _) => Self { reason: "max_tokens", sequence: None },
            (FinishReason::Stop, _) if !answer.calls.is_empty() => {
                Self { reason: "tool_use", sequence: None }
            }
            (FinishReason::Stop, Some(_)) => Self { reason: "stop_sequence", sequence },
            (FinishReason::Stop, None) => Self { reason: "end_turn", sequence: None },
        }
    }
}

/// Formats a piece as a content block.
fn block(piece: &Piece) -> Value {
    match piece {
        Piece::Reasoning(text) => thinking_block(text),
        Piece::Text(text) => text_block(text),
        Piece::Call(call) => call_block(call, arguments(call)),
    }
}

pub(super) fn thinking_block(text: &str) -> Value {
    json!({"type": "thinking", "thinking": text, "signature": ""})
}

pub(super) fn text_block(text: &str) -> Value {
    json!({"type": "text", "text": text, "citations": []})
}

pub(super) fn call_block(call: &Call, input: Value) -> Value {
    json!({
        "type": "tool_use",
        "id": call.id,
        "name": call.name,
        "input": input,
        "caller": {"type": "direct"},
    })
}

fn arguments(call: &Call) -> Value {
    serde_json::from_str(&call.arguments).unwrap_or_else(|_| Value::Object(Map::new()))
}
