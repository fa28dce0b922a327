//! Describes RunPod's routes for the OpenAPI document.

use serde_json::{Value, json};

use crate::describe::{Description, OF_BODY, OF_KEY, OF_QUEUE, Operation, refer};
use crate::dialects::jobs;
use crate::options::Options;

const TAG: &str = "runpod";
const ID: &str = "0192f0c1-2345-7abc-8def-0123456789ab";

/// Describes all routes.
pub(super) fn describe(options: &Options) -> Description {
    let error = json!({
        "type": "object", "required": ["error"], "properties": {"error": {"type": "string"}},
    });
    Description {
        tags: vec![(TAG, "RunPod's API. docs/OTHER_APIS.md has the details.")],
        operations: vec![
            create(options, Operation::post("/v2/{model}/run", "runJob", "Create a job"))
                .returns("The job.", refer("Job"))
                .leads_to("jobStatus", "id", "id")
                .leads_to("streamJob", "id", "id")
                .leads_to("cancelJob", "id", "id"),
            create(
                options,
                Operation::post("/v2/{model}/runsync", "runJobAndWait", "Create a job and wait"),
            )
            .query(
                "wait",
                "How long to wait for the job's end, in milliseconds. The default is 90000.",
                json!({"type": "integer", "minimum": 1000, "maximum": 300_000, "example": 1000}),
            )
            .returns("The job, ended or not.", refer("Job")),
            of_one(Operation::get("/v2/{model}/status/{id}", "jobStatus", "Fetch a job"))
                .returns("The job.", refer("Job")),
            of_one(Operation::get("/v2/{model}/stream/{id}", "streamJob", "Fetch new output"))
                .returns("The text that was generated since the last call.", pieces()),
            of_one(Operation::post("/v2/{model}/cancel/{id}", "cancelJob", "Cancel a job"))
                .returns("The job.", refer("Job")),
            refusals(
                options.default_model.as_str(),
                Operation::get("/v2/{model}/health", "endpointHealth", "Count jobs and workers"),
            )
            .refuses(&refer("JobError"), &[(404, "No worker serves the model.")])
            .returns("The counts.", health()),
        ],
        schemas: vec![("JobError", error), ("JobRequest", request(options)), ("Job", job())],
    }
}

/// Completes the description of a route that creates a job.
fn create(options: &Options, operation: Operation) -> Operation {
    let refusals_of_create = [
        (404, "No worker serves the model."),
        (429, "The queue is full. Retry after `Retry-After`."),
    ];
    refusals(options.default_model.as_str(), operation)
        .body(
            refer("JobRequest"),
            json!({"input": {"prompt": "How do I add a worker?", "max_tokens": 64}}),
        )
        .refuses(&refer("JobError"), &OF_BODY)
        .refuses(&refer("JobError"), &refusals_of_create)
        .refuses(&refer("JobError"), &[(409, "The idempotency key names another request.")])
        .idempotent()
}

/// Completes the description of a route of one job.
fn of_one(operation: Operation) -> Operation {
    let of_id =
        [(400, "The id is invalid."), (404, "There is no such job of this model and this key.")];
    refusals("demo", operation)
        .segment("id", "The job's id.", ID)
        .refuses(&refer("JobError"), &of_id)
}

fn refusals(model: &str, operation: Operation) -> Operation {
    operation
        .tag(TAG)
        .segment("model", "The model's name.", model)
        .refuses(&refer("JobError"), &OF_KEY)
        .refuses(&refer("JobError"), &OF_QUEUE)
}

fn request(options: &Options) -> Value {
    let mut request = jobs::input(options);
    request["properties"]["webhook"] =
        json!({"type": ["string", "null"], "description": "Receives the job when it has ended."});
    request["properties"]["policy"] = json!({
        "type": ["object", "null"],
        "properties": {
            "executionTimeout": {"type": ["integer", "null"], "minimum": 1, "maximum": 604_800_000},
            "ttl": {"type": ["integer", "null"], "minimum": 1, "maximum": 604_800_000},
            "lowPriority": {"type": ["boolean", "null"]},
        },
    });
    request
}

fn job() -> Value {
    let millis = json!({"type": "integer", "minimum": 0, "description": "In milliseconds."});
    json!({
        "type": "object",
        "required": ["id", "status"],
        "properties": {
            "id": {"type": "string"},
            "status": {"enum": [
                "IN_QUEUE", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT",
            ]},
            "delayTime": millis,
            "executionTime": millis,
            "output": {"type": "array", "items": {"type": "object"}},
            "error": {"type": "string"},
        },
    })
}

fn pieces() -> Value {
    json!({
        "type": "object",
        "required": ["status", "stream"],
        "properties": {
            "status": {"type": "string"},
            "stream": {"type": "array", "items": {"type": "object", "required": ["output"]}},
        },
    })
}

fn health() -> Value {
    let counts = json!({
        "type": "object", "additionalProperties": {"type": "integer", "minimum": 0},
    });
    json!({
        "type": "object",
        "required": ["jobs", "workers"],
        "properties": {"jobs": counts, "workers": counts},
    })
}
