//! Formats a file.

use queue::Blob;
use serde_json::{Value, json};

use super::file_id;

/// Formats a file's record.
pub(super) fn file(blob: &Blob) -> Value {
    json!({
        "id": file_id(blob.id),
        "object": "file",
        "bytes": blob.size,
        "created_at": blob.created_at.as_millis() / 1000,
        "expires_at": blob.expires_at.as_millis() / 1000,
        "filename": blob.filename.as_deref().unwrap_or_default(),
        "purpose": blob.purpose,
        "status": "processed",
        "status_details": null,
    })
}
