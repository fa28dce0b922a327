//! Describes `/v1/files`.

use serde_json::{Value, json};

use super::{OfOpenAi, refusals_of_body};
use crate::describe::{Description, Operation, refer};

pub(super) const EXAMPLE: &str = "file-01a22749e01a74ba9fd374e46721fd5b";

/// Adds the routes and their schemas.
pub(super) fn describe(all: &mut Description) {
    let of_one = |operation: Operation| {
        let missing = [(404, "There is no such file, or it belongs to another key.")];
        operation
            .segment("file_id", "The file's id.", EXAMPLE)
            .refuses(&refer("OpenAiError"), &missing)
            .reads()
    };
    let one = "/v1/files/{file_id}";
    let content = "/v1/files/{file_id}/content";
    all.operations.extend([
        refusals_of_body(Operation::post("/v1/files", "createFile", "Upload a file"))
            .form(form())
            .returns("The file's record.", refer("File"))
            .leads_to("retrieveFile", "file_id", "id")
            .leads_to("deleteFile", "file_id", "id")
            .leads_to("downloadFile", "file_id", "id")
            .reads(),
        Operation::get("/v1/files", "listFiles", "List files")
            .query("purpose", "Lists only files of this purpose.", json!({"type": "string"}))
            .query("limit", "The maximum number.", json!({"type": "integer", "minimum": 1, "maximum": 10_000}))
            .query("order", "The default is `desc`: the newest first.", json!({"enum": ["asc", "desc"]}))
            .query("after", "Lists only files after the one with this id.", json!({"type": "string"}))
            .returns("A page of files.", page("File"))
            .refuses(&refer("OpenAiError"), &[(400, "The request is invalid.")])
            .reads(),
        of_one(Operation::get(one, "retrieveFile", "Fetch a file's record"))
            .returns("The record.", refer("File")),
        of_one(Operation::get(content, "downloadFile", "Fetch a file's content"))
            .returns_bytes("The content, with the media type of the upload."),
        of_one(Operation::delete(one, "deleteFile", "Delete a file")).returns(
            "The file is deleted.",
            json!({
                "type": "object",
                "required": ["id", "object", "deleted"],
                "properties": {
                    "id": {"type": "string"}, "object": {"const": "file"}, "deleted": {"const": true},
                },
            }),
        ),
    ]);
    all.schemas.push(("File", file()));
}

fn form() -> Value {
    json!({
        "type": "object",
        "required": ["file", "purpose"],
        "properties": {
            "file": {"type": "string", "format": "binary"},
            "purpose": {"enum": ["assistants", "batch", "evals", "fine-tune", "user_data", "vision"]},
            "expires_after[anchor]": {"const": "created_at"},
            "expires_after[seconds]": {"type": "integer", "minimum": 3600, "maximum": 2_592_000},
        },
    })
}

fn file() -> Value {
    let seconds = json!({"type": "integer", "description": "In seconds since 1970."});
    json!({
        "type": "object",
        "required": ["id", "object", "bytes", "created_at", "expires_at", "filename", "purpose", "status"],
        "properties": {
            "id": {"type": "string"},
            "object": {"const": "file"},
            "bytes": {"type": "integer", "minimum": 0},
            "created_at": seconds,
            "expires_at": seconds,
            "filename": {"type": "string"},
            "purpose": {"type": "string"},
            "status": {"const": "processed"},
            "status_details": {"type": "null"},
        },
    })
}

/// Describes a page of a list.
pub(super) fn page(item: &str) -> Value {
    json!({
        "type": "object",
        "required": ["object", "data", "first_id", "last_id", "has_more"],
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": refer(item)},
            "first_id": {"type": ["string", "null"]},
            "last_id": {"type": ["string", "null"]},
            "has_more": {"type": "boolean"},
        },
    })
}
