//! Describes Replicate's routes for the OpenAPI document.

use serde_json::{Value, json};

use crate::describe::{Description, OF_BODY, OF_KEY, OF_QUEUE, Operation, nullable, refer};
use crate::dialects::jobs;
use crate::options::Options;

const TAG: &str = "replicate";
const ID: &str = "0192f0c1-2345-7abc-8def-0123456789ab";

/// Describes all routes.
pub(super) fn describe(options: &Options) -> Description {
    let prediction = || refer("Prediction");
    Description {
        tags: vec![(TAG, "Replicate's API. docs/OTHER_APIS.md has the details.")],
        operations: vec![
            create(Operation::post("/v1/predictions", "createPrediction", "Create a prediction"))
                .body(refer("PredictionRequest"), example(options, true)),
            create(Operation::post(
                "/v1/models/{owner}/{name}/predictions",
                "createPredictionOfModel",
                "Create a prediction by a model",
            ))
            .segment("owner", "The first part of the model's name.", "any")
            .segment(
                "name",
                "The model's name, or its second part.",
                options.default_model.as_str(),
            )
            .body(refer("ModelPredictionRequest"), example(options, false)),
            reads(Operation::get("/v1/predictions", "listPredictions", "List predictions"))
                .query(
                    "cursor",
                    "The page, from `next` of the page before.",
                    json!({"type": "string"}),
                )
                .refuses(&refer("PredictionProblem"), &[(422, "The cursor is invalid.")])
                .returns("A page, the newest prediction first.", page()),
            of_one(Operation::get("/v1/predictions/{id}", "getPrediction", "Fetch a prediction"))
                .returns("The prediction.", prediction()),
            of_one(Operation::get(
                "/v1/predictions/{id}/stream",
                "streamPrediction",
                "Stream the output of a prediction",
            ))
            .streams("The output from its beginning, and the event `done`."),
            of_one(Operation::post(
                "/v1/predictions/{id}/cancel",
                "cancelPrediction",
                "Cancel a prediction",
            ))
            .returns("The prediction.", prediction()),
        ],
        schemas: vec![
            ("PredictionProblem", problem()),
            ("PredictionRequest", request(options, true)),
            ("ModelPredictionRequest", request(options, false)),
            ("Prediction", self::prediction()),
        ],
    }
}

fn example(options: &Options, with_version: bool) -> Value {
    let mut example = json!({"input": {"prompt": "How do I add a worker?", "max_tokens": 64}});
    if with_version {
        example["version"] = json!(options.default_model);
    }
    example
}

/// Completes the description of a route that creates a prediction.
fn create(operation: Operation) -> Operation {
    let refusals = [
        (404, "No worker serves the model."),
        (409, "The idempotency key names another request."),
        (422, "The request is invalid."),
        (429, "The queue is full. Retry after `Retry-After`."),
    ];
    reads(operation)
        .creates("The prediction, ended or not.", &refer("Prediction"))
        .refuses(&refer("PredictionProblem"), &OF_BODY)
        .refuses(&refer("PredictionProblem"), &refusals)
        .idempotent()
}

/// Completes the description of a route of one prediction.
fn of_one(operation: Operation) -> Operation {
    let of_id = [(404, "There is no such prediction of this key."), (422, "The id is invalid.")];
    reads(operation)
        .segment("id", "The prediction's id.", ID)
        .refuses(&refer("PredictionProblem"), &of_id)
}

fn reads(operation: Operation) -> Operation {
    let problem = refer("PredictionProblem");
    operation.tag(TAG).refuses(&problem, &OF_KEY).refuses(&problem, &OF_QUEUE)
}

fn request(options: &Options, with_version: bool) -> Value {
    let mut request = jobs::input(options);
    let properties = &mut request["properties"];
    properties["webhook"] = json!({
        "type": ["string", "null"], "description": "Receives the prediction when it has ended.",
    });
    properties["webhook_events_filter"] = json!({
        "type": ["array", "null"],
        "items": {"enum": ["start", "output", "logs", "completed"]},
    });
    if with_version {
        properties["version"] = json!({"type": "string", "description": "The name of a model."});
        request["required"] = json!(["version", "input"]);
    }
    request
}

fn prediction() -> Value {
    let text = json!({"type": "string"});
    let time = json!({"type": "string", "format": "date-time"});
    json!({
        "type": "object",
        "required": ["id", "status", "input", "output", "error", "urls", "created_at"],
        "properties": {
            "id": text,
            "model": text,
            "version": text,
            "status": {"enum": ["starting", "processing", "succeeded", "failed", "canceled"]},
            "input": {"type": "object"},
            "output": {"type": ["array", "null"], "items": text},
            "error": {"type": ["string", "null"]},
            "metrics": {"type": "object"},
            "urls": {"type": "object", "additionalProperties": text},
            "created_at": time,
            "started_at": nullable(time.clone()),
            "completed_at": nullable(time.clone()),
        },
    })
}

fn page() -> Value {
    json!({
        "type": "object",
        "required": ["previous", "next", "results"],
        "properties": {
            "previous": {"type": "null"},
            "next": {"type": ["string", "null"]},
            "results": {"type": "array", "items": {"type": "object", "required": ["id", "status"]}},
        },
    })
}

/// Describes problem details (RFC 7807).
fn problem() -> Value {
    json!({
        "type": "object",
        "required": ["title", "detail", "status"],
        "properties": {
            "title": {"type": "string"},
            "detail": {"type": "string"},
            "status": {"type": "integer"},
            "invalid_fields": {"type": "array", "items": {"type": "object"}},
        },
    })
}
