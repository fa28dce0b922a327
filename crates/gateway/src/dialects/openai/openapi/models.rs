//! Describes `GET /v1/models` and `GET /v1/models/{model}`.

use serde_json::{Value, json};

use super::OfOpenAi;
use crate::describe::{Description, Operation, refer};

/// Adds the routes and their schemas.
pub(super) fn describe(all: &mut Description) {
    all.operations.extend([
        Operation::get("/v1/models", "listModels", "List the models")
            .returns(
                "The models that live workers serve, the default model first.",
                refer("ModelList"),
            )
            .reads(),
        Operation::get("/v1/models/{model}", "retrieveModel", "Describe a model")
            .segment("model", "The model's name, or an alias.", "demo")
            .returns("The model.", refer("Model"))
            .refuses(&refer("OpenAiError"), &[(404, "There is no such model.")])
            .reads(),
    ]);
    all.schemas.extend([("Model", model()), ("ModelList", list())]);
}

fn model() -> Value {
    json!({
        "type": "object",
        "required": ["id", "object", "created", "owned_by"],
        "properties": {
            "id": {"type": "string"},
            "object": {"const": "model"},
            "created": {
                "type": "integer",
                "description": "When its first worker started, in seconds since 1970; 0 if there is none.",
            },
            "owned_by": {"type": "string"},
            "parent": {"type": "string", "description": "The base model of an adapter."},
            "quantization": {"type": "string", "example": "Q4_K_M"},
            "context_length": {
                "type": "integer",
                "description": "The maximum number of tokens of prompt and answer together.",
            },
            "input_modalities": {
                "type": "array",
                "items": {"enum": ["text", "image"]},
                "description": "What it takes, once it was loaded.",
            },
            "max_model_len": {"type": "integer", "description": "The same as `context_length`."},
        },
    })
}

fn list() -> Value {
    json!({
        "type": "object",
        "required": ["object", "data"],
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": refer("Model")},
            "has_more": {"const": false},
        },
    })
}
