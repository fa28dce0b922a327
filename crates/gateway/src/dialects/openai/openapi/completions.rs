//! Describes `POST /v1/completions`.

use serde_json::{Value, json};

use super::{OfOpenAi, shared};
use crate::describe::{Description, Operation, described, refer};
use crate::options::Options;
use crate::schemas::fields;

/// Adds the route and its schemas.
pub(super) fn describe(all: &mut Description, options: &Options) {
    all.operations.push(
        Operation::post("/v1/completions", "createCompletion", "Continue a text")
            .about("The prompt is passed to the model as it is, without a chat template.")
            .body(
                refer("CompletionRequest"),
                json!({"model": options.default_model, "prompt": "A lease is", "max_tokens": 16}),
            )
            .returns("The completions, or with `stream` their chunks.", refer("Completion"))
            .or_streams()
            .works(),
    );
    all.schemas.extend([("CompletionRequest", request(options)), ("Completion", completion())]);
}

/// Returns the schema of a text, several texts, token ids, or several arrays of them: at most `most`.
pub(super) fn inputs(most: usize) -> Value {
    let text = json!({"type": "string", "minLength": 1});
    let ids = json!({"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0, "maximum": u32::MAX}});
    json!({"anyOf": [
        text,
        {"type": "array", "minItems": 1, "maxItems": most, "items": text},
        ids,
        {"type": "array", "minItems": 1, "maxItems": most, "items": ids},
    ]})
}

fn request(options: &Options) -> Value {
    let mut all = shared::request(options);
    let logprobs = json!({"type": ["integer", "null"], "minimum": 0, "maximum": 5});
    let more = [
        ("prompt", described("The texts to continue, or their token ids.", inputs(32))),
        ("max_tokens", fields::length(options.max_new_tokens)),
        ("n", shared::n()),
        (
            "logprobs",
            described("The number of most likely tokens to return at each position.", logprobs),
        ),
        ("echo", fields::flag("Returns the prompt before each completion.")),
        ("stream_options", shared::stream_options()),
        ("response_format", refer("ResponseFormat")),
    ];
    all.extend(more.map(|(name, schema)| (name.to_owned(), schema)));
    json!({"type": "object", "required": ["prompt"], "properties": all})
}

fn completion() -> Value {
    let numbers = json!({"type": "array", "items": {"type": "number"}});
    let logprobs = json!({
        "type": ["object", "null"],
        "properties": {
            "tokens": {"type": "array", "items": {"type": "string"}},
            "token_logprobs": numbers,
            "top_logprobs": {"type": "array", "items": {"type": "object"}},
            "text_offset": {"type": "array", "items": {"type": "integer"}},
        },
    });
    let choice = json!({
        "type": "object",
        "required": ["index", "text", "logprobs", "finish_reason"],
        "properties": {
            "index": {"type": "integer", "minimum": 0},
            "text": {"type": "string"},
            "logprobs": logprobs,
            "finish_reason": {"enum": ["stop", "length"]},
        },
    });
    json!({
        "type": "object",
        "required": ["id", "object", "created", "model", "choices", "usage"],
        "properties": {
            "id": {"type": "string"},
            "object": {"const": "text_completion"},
            "created": {"type": "integer", "description": "In seconds since 1970."},
            "model": {"type": "string"},
            "choices": {"type": "array", "minItems": 1, "items": choice},
            "usage": refer("Usage"),
            "system_fingerprint": {"type": "string"},
        },
    })
}
