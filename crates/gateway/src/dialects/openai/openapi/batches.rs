//! Describes `/v1/batches`.

use serde_json::{Value, json};

use super::files::page;
use super::{OfOpenAi, refusals_of_body};
use crate::describe::{Description, Operation, described, nullable, refer};
use crate::dialects::openai::batches::ENDPOINTS;
use crate::schemas::fields;

const EXAMPLE: &str = "batch_01a22749e01a74ba9fd374e46721fd5b";

/// Adds the routes and their schemas.
pub(super) fn describe(all: &mut Description) {
    let of_one = |operation: Operation| {
        let missing = [(404, "There is no such batch, or it belongs to another key.")];
        operation
            .segment("batch_id", "The batch's id.", EXAMPLE)
            .refuses(&refer("OpenAiError"), &missing)
            .returns("The batch.", refer("Batch"))
            .reads()
    };
    let cancel = "/v1/batches/{batch_id}/cancel";
    all.operations.extend([
        create(),
        Operation::get("/v1/batches", "listBatches", "List batches")
            .query("limit", "The maximum number. The default is 20.", limit())
            .query(
                "after",
                "Lists only batches after the one with this id.",
                json!({"type": "string"}),
            )
            .returns("A page, the newest batch first.", page("Batch"))
            .refuses(&refer("OpenAiError"), &[(400, "The request is invalid.")])
            .reads(),
        of_one(Operation::get("/v1/batches/{batch_id}", "retrieveBatch", "Fetch a batch")),
        of_one(Operation::post(cancel, "cancelBatch", "Cancel a batch"))
            .about("A batch that has ended stays as it is."),
    ]);
    all.schemas.extend([("BatchRequest", request()), ("Batch", batch())]);
}

fn create() -> Operation {
    let example = json!({
        "input_file_id": super::files::EXAMPLE, "endpoint": ENDPOINTS[0], "completion_window": "24h",
    });
    refusals_of_body(Operation::post("/v1/batches", "createBatch", "Run a file of requests"))
        .about("The requests run in the lane `batch`. docs/BATCHES.md has the details.")
        .body(refer("BatchRequest"), example)
        .returns("The batch.", refer("Batch"))
        .leads_to("retrieveBatch", "batch_id", "id")
        .leads_to("cancelBatch", "batch_id", "id")
        .idempotent()
        .reads()
}

fn limit() -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": 100})
}

fn request() -> Value {
    let ttl = json!({
        "type": ["object", "null"],
        "required": ["anchor", "seconds"],
        "properties": {
            "anchor": {"const": "created_at"},
            "seconds": {"type": "integer", "minimum": 3600, "maximum": 2_592_000},
        },
    });
    json!({
        "type": "object",
        "required": ["input_file_id", "endpoint", "completion_window"],
        "properties": {
            "input_file_id": {"type": "string", "description": "A file of purpose `batch`."},
            "endpoint": {"enum": ENDPOINTS},
            "completion_window": {
                "type": "string", "description": "`24h`, or other whole hours up to `168h`.",
            },
            "metadata": fields::metadata(),
            "output_expires_after": described("How long the files of answers are kept.", ttl),
            "webhook_url": fields::text("Receives OpenAI's event when the batch has ended."),
        },
    })
}

fn batch() -> Value {
    let at = json!({"type": ["integer", "null"], "description": "In seconds since 1970."});
    let id = json!({"type": ["string", "null"]});
    let count = json!({"type": "integer", "minimum": 0});
    json!({
        "type": "object",
        "required": ["id", "object", "endpoint", "input_file_id", "completion_window", "status", "created_at"],
        "properties": {
            "id": {"type": "string"},
            "object": {"const": "batch"},
            "endpoint": {"enum": ENDPOINTS},
            "errors": nullable(json!({
                "type": "object",
                "required": ["object", "data"],
                "properties": {"object": {"const": "list"}, "data": {"type": "array"}},
            })),
            "input_file_id": {"type": "string"},
            "completion_window": {"type": "string"},
            "status": {"enum": [
                "validating", "failed", "in_progress", "finalizing", "completed", "expired",
                "cancelling", "cancelled",
            ]},
            "output_file_id": id,
            "error_file_id": id,
            "created_at": at,
            "in_progress_at": at,
            "expires_at": at,
            "finalizing_at": at,
            "completed_at": at,
            "failed_at": at,
            "expired_at": at,
            "cancelling_at": at,
            "cancelled_at": at,
            "request_counts": {
                "type": "object",
                "properties": {"total": count, "completed": count, "failed": count},
            },
            "usage": {"type": "object"},
            "metadata": {"type": ["object", "null"]},
        },
    })
}
