//! Describes Ollama's routes for the OpenAPI document.

use serde_json::json;

use crate::describe::{Description, OF_BODY, OF_KEY, OF_QUEUE, Operation, refer};
use crate::options::Options;

const TAG: &str = "ollama";

/// Describes all routes.
pub(super) fn describe(options: &Options) -> Description {
    let error = json!({
        "type": "object", "required": ["error"], "properties": {"error": {"type": "string"}},
    });
    let model = json!({"type": "object", "required": ["name", "model", "details"]});
    let reads = |operation: Operation| {
        let error = refer("OllamaError");
        operation.tag(TAG).refuses(&error, &OF_KEY).refuses(&error, &OF_QUEUE)
    };
    Description {
        tags: vec![(TAG, "Ollama's routes that list models. docs/OTHER_APIS.md has the details.")],
        operations: vec![
            reads(Operation::get("/api/tags", "listTags", "List models")).returns(
                "The models that live workers serve.",
                json!({
                    "type": "object",
                    "required": ["models"],
                    "properties": {"models": {"type": "array", "items": model}},
                }),
            ),
            reads(Operation::post("/api/show", "showModel", "Describe a model"))
                .body(
                    json!({
                        "type": "object",
                        "required": ["model"],
                        "properties": {"model": {"type": "string"}},
                    }),
                    json!({"model": options.default_model}),
                )
                .returns(
                    "The model.",
                    json!({"type": "object", "required": ["details", "model_info", "capabilities"]}),
                )
                .refuses(&refer("OllamaError"), &OF_BODY)
                .refuses(&refer("OllamaError"), &[(404, "No worker serves the model.")]),
            Operation::get("/api/version", "version", "Return the gateway's version")
                .tag(TAG)
                .open()
                .returns(
                    "The version.",
                    json!({
                        "type": "object",
                        "required": ["version"],
                        "properties": {"version": {"type": "string"}},
                    }),
                ),
        ],
        schemas: vec![("OllamaError", error)],
    }
}
