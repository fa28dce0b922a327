//! Describes `POST /v1/embeddings`.

use serde_json::{Value, json};

use super::OfOpenAi;
use super::completions::inputs;
use crate::describe::{Description, Operation, described, refer};
use crate::options::Options;
use crate::schemas::fields;

/// Adds the route and its schemas.
pub(super) fn describe(all: &mut Description, options: &Options) {
    all.operations.push(
        Operation::post("/v1/embeddings", "createEmbedding", "Compute embeddings")
            .about("All inputs are one task. The model must be one that computes embeddings.")
            .body(
                refer("EmbeddingRequest"),
                json!({"model": "text-embedding-3-small", "input": ["One text.", "Another one."]}),
            )
            .returns("The embeddings, in the order of the inputs.", refer("EmbeddingList"))
            .works(),
    );
    all.schemas.extend([("EmbeddingRequest", request(options)), ("EmbeddingList", list())]);
}

fn request(options: &Options) -> Value {
    let dimensions = json!({"type": ["integer", "null"], "minimum": 1, "maximum": 65_536});
    json!({
        "type": "object",
        "required": ["input"],
        "properties": {
            "model": fields::model(options.default_model.as_str()),
            "input": described("The texts, or their token ids.", inputs(2048)),
            "encoding_format": fields::one_of(
                "`base64` returns little-endian 32-bit floats. The default is `float`.",
                &["float", "base64"],
            ),
            "dimensions": described(
                "The length of each embedding, at most the model's. The default is the model's.",
                dimensions,
            ),
            "user": fields::text("A label of the end user. It is stored with the task."),
            "metadata": fields::metadata(),
        },
    })
}

fn list() -> Value {
    let embedding = json!({
        "type": "object",
        "required": ["object", "index", "embedding"],
        "properties": {
            "object": {"const": "embedding"},
            "index": {"type": "integer", "minimum": 0},
            "embedding": {"anyOf": [
                {"type": "array", "items": {"type": "number"}}, {"type": "string"},
            ]},
        },
    });
    json!({
        "type": "object",
        "required": ["object", "data", "model", "usage"],
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "minItems": 1, "items": embedding},
            "model": {"type": "string"},
            "usage": {
                "type": "object",
                "required": ["prompt_tokens", "total_tokens"],
                "properties": {
                    "prompt_tokens": {"type": "integer"}, "total_tokens": {"type": "integer"},
                },
            },
        },
    })
}
