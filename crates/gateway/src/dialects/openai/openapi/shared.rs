//! Schemas that several routes have.

use chat::Sampling;
use serde_json::{Map, Value, json};

use crate::describe::{Description, described, nullable, refer};
use crate::options::Options;
use crate::schemas::fields;

/// Adds the schemas.
pub(super) fn describe(all: &mut Description) {
    all.schemas.extend([
        ("ChatMessage", message()),
        ("ChatTool", tool()),
        ("ChatToolCall", tool_call()),
        ("ResponseFormat", format()),
        ("ChatTokenLogprob", logprob()),
        ("Usage", usage()),
    ]);
}

/// Returns the fields that all requests for texts have.
pub(super) fn request(options: &Options) -> Map<String, Value> {
    let mut all = fields::sampling(|_| true);
    all["seed"] = described(
        "The seed: the same request with the same seed has the same answer, on the same worker.",
        json!({"type": ["integer", "null"], "minimum": i64::MIN, "maximum": i64::MAX}),
    );
    let more = [
        ("model", fields::model(options.default_model.as_str())),
        ("stop", fields::stop()),
        ("logit_bias", fields::logit_bias()),
        ("metadata", fields::metadata()),
        ("stream", fields::flag("Returns the answer as server-sent events while it is generated.")),
        ("user", fields::text("A label of the end user. It is stored with the task.")),
        (
            "service_tier",
            fields::one_of(
                "The priority: `flex` is low, `priority` is high.",
                &["auto", "default", "flex", "priority"],
            ),
        ),
    ];
    all.extend(more.map(|(name, schema)| (name.to_owned(), schema)));
    all
}

/// Returns the fields of requests with a conversation, in addition to those of [`request`].
pub(super) fn conversation(tool: Value, named: &Value) -> [(&'static str, Value); 3] {
    let choice =
        json!({"anyOf": [{"enum": ["auto", "none", "required"]}, named, {"type": "null"}]});
    [
        ("tools", fields::tools(tool)),
        ("tool_choice", described("Whether the model calls a function, and which.", choice)),
        (
            "parallel_tool_calls",
            fields::flag("`false` limits the answer to one call. The default is `true`."),
        ),
    ]
}

/// Returns the schema of `n`.
pub(super) fn n() -> Value {
    described(
        "The number of answers.",
        json!({"type": ["integer", "null"], "minimum": 1, "maximum": protocol::Task::MAX_N, "example": 1}),
    )
}

/// Returns the schema of `stream_options`.
pub(super) fn stream_options() -> Value {
    described(
        "Options of the stream.",
        json!({
            "type": ["object", "null"],
            "properties": {
                "include_usage": fields::flag("Ends the stream with a chunk that has the usage."),
            },
        }),
    )
}

/// Returns the efforts that turn thinking off or on.
pub(super) fn effort() -> Value {
    fields::one_of(
        "Turns thinking off (`none`, `minimal`) or on, for models that support it.",
        &["none", "minimal", "low", "medium", "high", "xhigh"],
    )
}

/// Returns the schema of the number of alternatives for each token.
pub(super) fn top_logprobs() -> Value {
    described(
        "The number of most likely tokens to return at each position.",
        json!({"type": ["integer", "null"], "minimum": 0, "maximum": Sampling::MAX_TOP_LOGPROBS}),
    )
}

fn message() -> Value {
    let text = fields::text_part();
    let image = json!({
        "type": "object",
        "required": ["type", "image_url"],
        "properties": {
            "type": {"const": "image_url"},
            "image_url": {
                "type": "object",
                "required": ["url"],
                "properties": {
                    "url": {"type": "string", "description": fields::IMAGE},
                    "detail": {"enum": ["auto", "low", "high"]},
                },
            },
        },
    });
    let content = json!({"anyOf": [
        {"type": "string"}, {"type": "array", "items": {"anyOf": [text, image]}}, {"type": "null"},
    ]});
    json!({
        "type": "object",
        "description": "A message of a conversation.",
        "required": ["role"],
        "properties": {
            "role": {"enum": ["system", "developer", "user", "assistant", "tool"]},
            "content": described("The text, or parts with text and (in messages of users and tools) images.", content),
            "name": fields::text("The name of the participant."),
            "reasoning_content": fields::text("The assistant's reasoning; `reasoning` is the same."),
            "tool_calls": described(
                "The assistant's calls.",
                nullable(json!({"type": "array", "items": refer("ChatToolCall")})),
            ),
            "tool_call_id": fields::text("The id of the call that a tool's message answers."),
        },
        "example": {"role": "user", "content": "Why is the sky blue?"},
    })
}

fn tool() -> Value {
    json!({
        "type": "object",
        "required": ["type", "function"],
        "properties": {
            "type": {"const": "function"},
            "function": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": fields::function_name(),
                    "description": fields::text("What the function does, for the model."),
                    "parameters": nullable(fields::json_schema()),
                    "strict": fields::flag("Ignored: arguments always match the schema."),
                },
            },
        },
    })
}

fn tool_call() -> Value {
    json!({
        "type": "object",
        "required": ["id", "type", "function"],
        "properties": {
            "id": {"type": "string"},
            "type": {"const": "function"},
            "function": {
                "type": "object",
                "required": ["name", "arguments"],
                "properties": {
                    "name": {"type": "string"},
                    "arguments": {"type": "string", "description": "The arguments as a string of JSON."},
                },
            },
        },
    })
}

fn format() -> Value {
    json!({"anyOf": [
        {"type": "object", "required": ["type"], "properties": {"type": {"const": "text"}}},
        {"type": "object", "required": ["type"], "properties": {"type": {"const": "json_object"}}},
        {
            "type": "object",
            "required": ["type", "json_schema"],
            "properties": {
                "type": {"const": "json_schema"},
                "json_schema": {
                    "type": "object",
                    "required": ["schema"],
                    "properties": {"name": {"type": "string"}, "schema": fields::json_schema()},
                },
            },
        },
        {"type": "null"},
    ]})
}

fn logprob() -> Value {
    let token = json!({
        "token": {"type": "string"},
        "logprob": {"type": "number"},
        "bytes": {"type": ["array", "null"], "items": {"type": "integer"}},
    });
    let mut all = token.clone();
    all["top_logprobs"] = json!({"type": "array", "items": {
        "type": "object", "required": ["token", "logprob"], "properties": token,
    }});
    json!({"type": "object", "required": ["token", "logprob", "top_logprobs"], "properties": all})
}

fn usage() -> Value {
    let count = json!({"type": "integer", "minimum": 0});
    json!({
        "type": "object",
        "description": "The numbers of tokens of prompt and answers.",
        "required": ["prompt_tokens", "completion_tokens", "total_tokens"],
        "properties": {
            "prompt_tokens": count,
            "completion_tokens": count,
            "total_tokens": count,
            "prompt_tokens_details": {"type": "object", "properties": {"cached_tokens": count}},
            "completion_tokens_details": {"type": "object", "properties": {"reasoning_tokens": count}},
        },
    })
}
