//! Schemas of fields that requests of several dialects have. Those of other dialects than the native one may be
//! `null`, which counts as absent.

use chat::Sampling;
use serde_json::{Map, Value, json};

use crate::describe::{described, nullable};
use crate::validate::{
    MAX_BIASES, MAX_METADATA, MAX_METADATA_NAME, MAX_METADATA_VALUE, MAX_STOP_BYTES, MAX_STOPS,
};

/// Describes the text that says where an image is.
pub(crate) const IMAGE: &str = "A data URL (`data:image/png;base64,…`), the id of a file or blob, or (if the server downloads \
                                images) a URL.";

/// Returns the schema of `stop`: a string or several.
pub(crate) fn stop() -> Value {
    let text = json!({"type": "string", "minLength": 1, "maxLength": MAX_STOP_BYTES});
    json!({
        "anyOf": [
            text,
            {"type": "array", "maxItems": MAX_STOPS, "items": text},
            {"type": "null"},
        ],
        "example": ["\n\n"],
    })
}

/// Returns the schema of `logit_bias`.
pub(crate) fn logit_bias() -> Value {
    json!({
        "type": ["object", "null"],
        "maxProperties": MAX_BIASES,
        "propertyNames": {"pattern": "^(0|[1-9][0-9]{0,8})$"},
        "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100},
        "example": {"1234": -100},
    })
}

/// Returns the schema of `metadata`.
pub(crate) fn metadata() -> Value {
    json!({
        "type": ["object", "null"],
        "maxProperties": MAX_METADATA,
        "propertyNames": {"minLength": 1, "maxLength": MAX_METADATA_NAME},
        "additionalProperties": {"type": "string", "maxLength": MAX_METADATA_VALUE},
        "example": {"order": "17"},
    })
}

/// Returns the schemas of the fields that set how tokens are sampled, those of them that `is_known`.
pub(crate) fn sampling(is_known: impl Fn(&str) -> bool) -> Map<String, Value> {
    let fields = Sampling::FIELDS.iter().filter(|field| is_known(field.name));
    fields.map(|field| (field.name.to_owned(), field.schema())).collect()
}

/// Returns the schema of a field with a text.
pub(crate) fn text(description: &str) -> Value {
    described(description, json!({"type": ["string", "null"]}))
}

/// Returns the schema of a text among the parts of a message.
pub(crate) fn text_part() -> Value {
    json!({
        "type": "object",
        "required": ["type", "text"],
        "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
    })
}

/// Returns the schema of a field with a boolean.
pub(crate) fn flag(description: &str) -> Value {
    described(description, json!({"type": ["boolean", "null"]}))
}

/// Returns the schema of a field with one of these texts.
pub(crate) fn one_of(description: &str, texts: &[&str]) -> Value {
    let texts: Vec<Value> = texts.iter().copied().map(Value::from).chain([Value::Null]).collect();
    described(description, json!({"enum": texts}))
}

/// Returns the schema of a maximum number of tokens.
pub(crate) fn length(most: u32) -> Value {
    let description =
        format!("The maximum number of tokens to generate. Numbers above {most} count as {most}.");
    described(&description, json!({"type": ["integer", "null"], "minimum": 1, "example": 128}))
}

/// Returns the schema of the model's name.
pub(crate) fn model(default: &str) -> Value {
    described(
        "The name of a model that `GET /v1/models` lists, or an alias (`MODEL_ALIASES`).",
        json!({"type": "string", "example": default}),
    )
}

/// Returns the schema of functions that the model may call, each of which is an `item`.
pub(crate) fn tools(item: Value) -> Value {
    described(
        "The functions that the model may call.",
        nullable(json!({"type": "array", "maxItems": 256, "items": item})),
    )
}

/// Returns the schema of a function's name.
pub(crate) fn function_name() -> Value {
    json!({"type": "string", "pattern": "^[a-zA-Z0-9_.:-]{1,128}$", "example": "get_weather"})
}

/// Returns the schema of a JSON schema.
pub(crate) fn json_schema() -> Value {
    described(
        "A JSON schema, whose supported keywords docs/API.md lists.",
        json!({"type": "object", "example": {"type": "object", "properties": {"city": {"type": "string"}}}}),
    )
}
