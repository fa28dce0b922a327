//! Formats a whole chat completion.

use protocol::{Completion, FinishReason, Outcome, TaskSnapshot, TokenLogprobs};
use serde::Serialize;
use serde_json::{Value, json};

use super::super::FINGERPRINT;
use super::super::usage::UsageReply;
use crate::follow::answer::{Answer, Call};
use crate::refusal::Refusal;
use crate::replies::annotated;

/// Log probabilities, as chat completions have them.
#[derive(Debug, Serialize)]
pub(super) struct LogprobsReply<'a> {
    pub(super) content: &'a [TokenLogprobs],
    pub(super) refusal: Option<()>,
}

/// Returns the id of a completion, from the id of its task.
pub(super) fn completion_id(task_id: protocol::TaskId) -> String {
    format!("chatcmpl-{}", task_id.to_string().replace('-', ""))
}

/// Returns why an answer ended. A cut answer is `length`, even if it has a call.
pub(super) fn finish_reason(finish: FinishReason, has_calls: bool) -> &'static str {
    match finish {
        FinishReason::Length => "length",
        FinishReason::Stop if has_calls => "tool_calls",
        FinishReason::Stop => "stop",
    }
}

/// Formats an ended task.
pub(super) fn completion(snapshot: &TaskSnapshot) -> Result<Value, Refusal> {
    let (answers, usage) = Answer::all(snapshot)?;
    let choices = answers.iter().enumerate().map(|(index, answer)| choice(index, answer));
    let mut completion = json!({
        "id": completion_id(snapshot.task.id),
        "object": "chat.completion",
        "created": snapshot.submitted_at.as_millis() / 1000,
        "model": snapshot.task.model,
        "choices": choices.collect::<Value>(),
        "usage": UsageReply::from(usage),
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    });
    if let Some(skill) = skill(snapshot) {
        completion["skill"] = skill;
    }
    Ok(completion)
}

/// Returns what a skill read in the answer of an ended task.
pub(super) fn skill(snapshot: &TaskSnapshot) -> Option<Value> {
    let Some(Outcome::Completed(Completion { skill: Some(skill), .. })) = &snapshot.outcome else {
        return None;
    };
    Some(json!({
        "name": skill.name,
        "structured": skill.structured,
        "annotated_images": annotated(Some(skill)).collect::<Vec<String>>(),
        "warnings": skill.warnings,
    }))
}

fn choice(index: usize, answer: &Answer) -> Value {
    let logprobs = answer.logprobs.as_ref();
    let logprobs =
        logprobs.map(|logprobs| LogprobsReply { content: &logprobs.content, refusal: None });
    json!({
        "index": index,
        "message": message(answer),
        "logprobs": logprobs,
        "finish_reason": finish_reason(answer.finish, !answer.calls.is_empty()),
    })
}

fn message(answer: &Answer) -> Value {
    let has_content = !answer.text.is_empty() || answer.calls.is_empty();
    let mut message = json!({
        "role": "assistant",
        "content": has_content.then_some(&answer.text),
        "refusal": null,
        "annotations": [],
    });
    if !answer.reasoning.is_empty() {
        message["reasoning_content"] = json!(answer.reasoning);
        message["reasoning"] = json!(answer.reasoning);
    }
    if !answer.calls.is_empty() {
        message["tool_calls"] = answer.calls.iter().map(call).collect();
    }
    message
}

fn call(call: &Call) -> Value {
    json!({
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    })
}
