//! Formats embeddings.

use protocol::{Outcome, TaskSnapshot};
use serde_json::{Value, json};

use super::body::Encoding;
use crate::refusal::Refusal;

/// Formats an ended task.
pub(super) fn embeddings(snapshot: &TaskSnapshot, encoding: Encoding) -> Result<Value, Refusal> {
    let completed = match &snapshot.outcome {
        Some(Outcome::Completed(completed)) => completed,
        Some(Outcome::Failed(error)) => return Err(Refusal::failed(error)),
        Some(Outcome::Cancelled { .. }) => return Err(Refusal::cancelled()),
        None => return Err(Refusal::internal("a task ended without an outcome")),
    };
    let data = completed.embeddings.iter().enumerate().map(|(index, embedding)| {
        let embedding = match encoding {
            Encoding::Float => json!(embedding.0),
            Encoding::Base64 => json!(embedding.to_base64()),
        };
        json!({"object": "embedding", "index": index, "embedding": embedding})
    });
    let tokens = completed.usage.prompt_tokens;
    Ok(json!({
        "object": "list",
        "data": data.collect::<Value>(),
        "model": snapshot.task.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }))
}
