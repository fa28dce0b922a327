//! Describes `POST /v1/chat/completions`.

use serde_json::{Value, json};

use super::{OfOpenAi, shared};
use crate::describe::{Description, Operation, described, refer};
use crate::options::Options;
use crate::schemas::fields;

/// Adds the route and its schemas.
pub(super) fn describe(all: &mut Description, options: &Options) {
    all.operations.push(
        Operation::post("/v1/chat/completions", "createChatCompletion", "Answer a conversation")
            .about("Unknown fields are ignored. Known fields that cannot be honoured are refused.")
            .body(
                refer("ChatCompletionRequest"),
                json!({
                    "model": options.default_model,
                    "messages": [{"role": "user", "content": "How do I add a worker?"}],
                    "max_completion_tokens": 64,
                }),
            )
            .returns("The answer, or with `stream` its chunks.", refer("ChatCompletion"))
            .or_streams()
            .works(),
    );
    all.schemas
        .extend([("ChatCompletionRequest", request(options)), ("ChatCompletion", completion())]);
}

fn request(options: &Options) -> Value {
    let mut all = shared::request(options);
    let messages = json!({"type": "array", "minItems": 1, "items": refer("ChatMessage")});
    let named = json!({
        "type": "object",
        "required": ["type", "function"],
        "properties": {
            "type": {"const": "function"},
            "function": {
                "type": "object", "required": ["name"], "properties": {"name": fields::function_name()},
            },
        },
    });
    let more = [
        ("messages", described("The conversation.", messages)),
        ("max_completion_tokens", fields::length(options.max_new_tokens)),
        ("max_tokens", fields::length(options.max_new_tokens)),
        ("n", shared::n()),
        ("logprobs", fields::flag("Returns the log probability of each token.")),
        ("top_logprobs", shared::top_logprobs()),
        ("stream_options", shared::stream_options()),
        ("reasoning_effort", shared::effort()),
        ("response_format", refer("ResponseFormat")),
    ];
    let more = more.into_iter().chain(shared::conversation(refer("ChatTool"), &named));
    all.extend(more.map(|(name, schema)| (name.to_owned(), schema)));
    json!({"type": "object", "required": ["model", "messages"], "properties": all})
}

fn completion() -> Value {
    let message = json!({
        "type": "object",
        "required": ["role", "content"],
        "properties": {
            "role": {"const": "assistant"},
            "content": {"type": ["string", "null"]},
            "refusal": {"type": "null"},
            "reasoning_content": {"type": "string"},
            "reasoning": {"type": "string"},
            "tool_calls": {"type": "array", "minItems": 1, "items": refer("ChatToolCall")},
        },
    });
    let choice = json!({
        "type": "object",
        "required": ["index", "message", "logprobs", "finish_reason"],
        "properties": {
            "index": {"type": "integer", "minimum": 0},
            "message": message,
            "logprobs": {
                "type": ["object", "null"],
                "properties": {"content": {"type": "array", "items": refer("ChatTokenLogprob")}},
            },
            "finish_reason": {"enum": ["stop", "length", "tool_calls"]},
        },
    });
    json!({
        "type": "object",
        "required": ["id", "object", "created", "model", "choices", "usage"],
        "properties": {
            "id": {"type": "string"},
            "object": {"const": "chat.completion"},
            "created": {"type": "integer", "description": "In seconds since 1970."},
            "model": {"type": "string"},
            "choices": {"type": "array", "minItems": 1, "items": choice},
            "usage": refer("Usage"),
            "system_fingerprint": {"type": "string"},
        },
    })
}
