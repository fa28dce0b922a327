//! Describes Anthropic's routes for the OpenAPI document. To describe a route, add its operation and schemas to
//! [`describe`].

use serde_json::{Value, json};

use crate::describe::{
    Description, OF_BODY, OF_KEY, OF_QUEUE, OF_TASK, Operation, described, nullable, refer,
};
use crate::options::Options;
use crate::schemas::fields;

const TAG: &str = "anthropic";

/// Describes all routes.
pub(super) fn describe(options: &Options) -> Description {
    Description {
        tags: vec![(TAG, "Anthropic's API. docs/ANTHROPIC.md has the details.")],
        operations: vec![create(options), count(options)],
        schemas: vec![
            ("AnthropicError", error()),
            ("MessagesRequest", request(options)),
            ("CountTokensRequest", count_request(options)),
            ("Message", message()),
        ],
    }
}

fn create(options: &Options) -> Operation {
    Operation::post("/v1/messages", "createMessage", "Answer a conversation")
        .about("Unknown fields are ignored. Known fields that cannot be honoured are refused.")
        .body(
            refer("MessagesRequest"),
            json!({
                "model": options.default_model,
                "max_tokens": 64,
                "messages": [{"role": "user", "content": "How do I add a worker?"}],
            }),
        )
        .returns("The answer, or with `stream` its events.", refer("Message"))
        .or_streams()
        .works()
}

fn count(options: &Options) -> Operation {
    Operation::post(
        "/v1/messages/count_tokens",
        "countMessageTokens",
        "Count the input tokens of a message",
    )
    .about("Takes the body of a message, which is not generated.")
    .body(
        refer("CountTokensRequest"),
        json!({
            "model": options.default_model,
            "messages": [{"role": "user", "content": "How do I add a worker?"}],
        }),
    )
    .returns(
        "The tokens of the prompt that the message would have.",
        json!({
            "type": "object",
            "required": ["input_tokens"],
            "properties": {"input_tokens": {"type": "integer", "minimum": 0}},
        }),
    )
    .works()
}

/// Completes the description of a route.
trait OfAnthropic {
    /// Adds the refusals of a route that reads a body, submits a task and waits for its end.
    fn works(self) -> Self;
}

impl OfAnthropic for Operation {
    fn works(self) -> Self {
        let error = refer("AnthropicError");
        self.tag(TAG)
            .refuses(&error, &OF_KEY)
            .refuses(&error, &OF_QUEUE)
            .refuses(&error, &OF_BODY)
            .refuses(&error, &OF_TASK)
            .idempotent()
    }
}

fn error() -> Value {
    json!({
        "type": "object",
        "description": "The reason why a request was refused.",
        "required": ["type", "error"],
        "properties": {
            "type": {"const": "error"},
            "error": {
                "type": "object",
                "required": ["type", "message"],
                "properties": {
                    "type": {"type": "string", "example": "invalid_request_error"},
                    "message": {
                        "type": "string",
                        "description": "Each problem with its path, and the remedy, for people.",
                    },
                },
            },
        },
    })
}

fn request(options: &Options) -> Value {
    let mut all = fields::sampling(|name| ["top_p", "top_k"].contains(&name));
    let text = fields::text_part();
    let texts = json!({"anyOf": [{"type": "string"}, {"type": "array", "items": text}]});
    let image = json!({
        "type": "object",
        "required": ["type", "source"],
        "properties": {
            "type": {"const": "image"},
            "source": {
                "type": "object",
                "required": ["type"],
                "properties": {
                    "type": {"enum": ["base64", "url", "file"]},
                    "media_type": {"type": "string", "description": "Ignored: the content decides."},
                    "data": {"type": "string", "description": "The image in base64."},
                    "url": {"type": "string", "description": fields::IMAGE},
                    "file_id": {"type": "string", "description": "The id of a file or blob."},
                },
            },
        },
    });
    let blocks = json!({"type": "array", "items": {"anyOf": [text, image]}});
    let content = json!({"anyOf": [{"type": "string"}, blocks]});
    let turn = json!({
        "type": "object",
        "required": ["role", "content"],
        "properties": {"role": {"enum": ["user", "assistant"]}, "content": content},
    });
    let tool = json!({
        "type": "object",
        "required": ["name", "input_schema"],
        "properties": {
            "name": fields::function_name(),
            "description": fields::text("What the function does, for the model."),
            "input_schema": fields::json_schema(),
        },
    });
    let choice = json!({
        "type": "object",
        "required": ["type"],
        "properties": {
            "type": {"enum": ["auto", "any", "none", "tool"]},
            "name": {"type": "string", "description": "The function, if the type is `tool`."},
            "disable_parallel_tool_use": fields::flag("`true` limits the answer to one call."),
        },
    });
    let thinking = json!({
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": ["enabled", "adaptive", "disabled"]}},
    });
    let format = json!({
        "type": "object",
        "required": ["type", "schema"],
        "properties": {"type": {"const": "json_schema"}, "schema": fields::json_schema()},
    });
    let output = json!({
        "type": "object",
        "properties": {
            "effort": fields::one_of("How much the model thinks.", &["low", "medium", "high"]),
            "format": nullable(format),
        },
    });
    let user = json!({"type": "object", "properties": {"user_id": fields::text("A label of the end user.")}});
    let stops = json!({"type": ["array", "null"], "maxItems": 16, "items": {
        "type": "string", "minLength": 1, "maxLength": 64,
    }});
    let heat = json!({"type": ["number", "null"], "minimum": 0, "maximum": 1, "example": 0.7});
    let messages = json!({"type": "array", "minItems": 1, "items": turn});
    let mut length = fields::length(options.max_new_tokens);
    length["type"] = json!("integer");
    let more = [
        ("model", fields::model(options.default_model.as_str())),
        ("max_tokens", length),
        ("messages", described("The conversation.", messages)),
        ("system", described("The message of the system.", nullable(texts))),
        ("stop_sequences", described("Texts that end the answer.", stops)),
        ("temperature", described("How random the answer is.", heat)),
        ("stream", fields::flag("Returns the answer as server-sent events while it is generated.")),
        ("tools", fields::tools(tool)),
        ("tool_choice", described("Whether the model calls a function.", nullable(choice))),
        ("thinking", described("Whether the model thinks.", nullable(thinking))),
        ("output_config", described("The format of the answer.", nullable(output))),
        ("metadata", described("Data about the request.", nullable(user))),
    ];
    all.extend(more.map(|(name, schema)| (name.to_owned(), schema)));
    json!({
        "type": "object", "required": ["model", "max_tokens", "messages"], "properties": all,
    })
}

fn count_request(options: &Options) -> Value {
    let mut request = request(options);
    request["required"] = json!(["model", "messages"]);
    request
}

fn message() -> Value {
    let count = json!({"type": "integer", "minimum": 0});
    json!({
        "type": "object",
        "required": ["id", "type", "role", "model", "content", "stop_reason", "usage"],
        "properties": {
            "id": {"type": "string"},
            "type": {"const": "message"},
            "role": {"const": "assistant"},
            "model": {"type": "string"},
            "content": {"type": "array", "items": {
                "type": "object",
                "required": ["type"],
                "properties": {"type": {"enum": ["text", "thinking", "tool_use"]}},
            }},
            "stop_reason": {"enum": ["end_turn", "max_tokens", "stop_sequence", "tool_use"]},
            "stop_sequence": {"type": ["string", "null"]},
            "usage": {
                "type": "object",
                "required": ["input_tokens", "output_tokens"],
                "properties": {
                    "input_tokens": count, "output_tokens": count, "cache_read_input_tokens": count,
                },
            },
        },
    })
}
