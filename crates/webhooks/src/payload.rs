//! Builds a webhook's body. It depends on the delivery alone, so every try sends the same bytes.

use std::collections::BTreeMap;

use protocol::{Outcome, Timestamp, WebhookId};
use queue::{Content, Delivery, TaskEnd};
use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Formats the body of an ended task's webhook. The gateway supplies it, since it owns the formats.
pub type Render = dyn Fn(&TaskEnd) -> Vec<u8> + Send + Sync;

#[derive(Serialize)]
struct Payload<'a> {
    r#type: &'static str,
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    #[serde(flatten)]
    result: Value,
    metadata: &'a BTreeMap<String, String>,
}

/// Returns the body of a delivery.
pub(crate) fn body(delivery: &Delivery, render: &Render) -> Vec<u8> {
    match &delivery.content {
        Content::Task(end) => render(end),
        Content::Notice(body) => body.clone().into_bytes(),
    }
}

/// Formats the native API's body: `{"type", "timestamp", "data"}`. `timestamp` is when the task ended;
/// `data` is `result` plus the task's `metadata`.
pub fn task_event(end: &TaskEnd, result: Value) -> Vec<u8> {
    let payload = Payload {
        r#type: kind(&end.outcome),
        timestamp: rfc3339(end.finished_at),
        data: Data { result, metadata: &end.metadata },
    };
    // Cannot fail: values and maps with string keys always serialize to JSON.
    serde_json::to_vec(&payload).unwrap_or_default()
}

/// Formats an event as OpenAI's clients parse it: that `object`, named by its id in the API, came to
/// the end that `kind` says (`response.completed`, `batch.failed`, …) at `at`.
pub fn openai_event(id: WebhookId, at: Timestamp, kind: &str, object: &str) -> String {
    let event = json!({
        "id": format!("evt_{}", id.as_uuid().simple()),
        "object": "event",
        "created_at": at.as_millis() / 1000,
        "type": kind,
        "data": {"id": object},
    });
    event.to_string()
}

const fn kind(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Completed(_) => "task.completed",
        Outcome::Failed(_) => "task.failed",
        Outcome::Cancelled { .. } => "task.cancelled",
    }
}

/// Formats an instant as RFC 3339, in UTC, with at most three digits of fraction.
pub fn rfc3339(at: Timestamp) -> String {
    let nanos = i128::from(at.as_millis()) * 1_000_000;
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    at.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use protocol::{ErrorType, TaskError, TaskId, WebhookForm};
    use serde_json::json;

    use super::*;

    #[test]
    fn the_body_has_the_type_and_the_rendered_result() {
        let end = TaskEnd {
            task_id: TaskId::new(),
            form: WebhookForm::Task,
            outcome: Outcome::Failed(TaskError::new(ErrorType::Expired, "late")),
            metadata: BTreeMap::from([("order".into(), "17".into())]),
            submitted_at: Timestamp::from_millis(1_763_739_000_000),
            started_at: None,
            finished_at: Timestamp::from_millis(1_763_739_045_123),
        };
        let body = task_event(&end, json!({"status": "error", "error_type": "expired"}));
        let body: Value = serde_json::from_slice(&body).unwrap();
        let expected = json!({
            "type": "task.failed",
            "timestamp": "2025-11-21T15:30:45.123Z",
            "data": {"status": "error", "error_type": "expired", "metadata": {"order": "17"}},
        });
        assert_eq!(body, expected);
        assert_eq!(kind(&Outcome::CANCELLED), "task.cancelled");
    }
}
