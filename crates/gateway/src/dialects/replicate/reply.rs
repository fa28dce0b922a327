//! Formats a prediction.

use actix_web::HttpRequest;
use protocol::{Metrics, Outcome, TaskId, TaskSnapshot, TaskState, Timestamp};
use queue::TaskEnd;
use serde_json::{Value, json};
use webhooks::payload::rfc3339;

use super::record::Record;

/// The address under which the client reaches the gateway, which is in the links of a prediction.
pub(super) struct Links(String);

impl Links {
    /// Takes the address from a request.
    pub(super) fn of(request: &HttpRequest) -> Self {
        let connection = request.connection_info();
        Self(format!("{}://{}", connection.scheme(), connection.host()))
    }

    /// Returns the link to a path.
    pub(super) fn to(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// Formats a prediction.
    pub(super) fn prediction(&self, record: &Record, snapshot: &TaskSnapshot) -> Value {
        let mut prediction = state(&State {
            id: snapshot.task.id,
            status: status(snapshot),
            created_at: snapshot.submitted_at,
            started_at: snapshot.started_at,
            completed_at: snapshot.finished_at,
            outcome: snapshot.outcome.as_ref(),
        });
        let own = format!("/v1/predictions/{}", snapshot.task.id);
        prediction["model"] = json!(record.model);
        prediction["version"] = json!(record.version);
        prediction["input"] = record.input.clone();
        prediction["urls"] = json!({
            "get": self.to(&own),
            "cancel": self.to(&format!("{own}/cancel")),
            "stream": self.to(&format!("{own}/stream")),
        });
        prediction
    }
}

/// Formats the body of a webhook: the prediction, without what only its record has.
pub(in crate::dialects) fn webhook_body(end: &TaskEnd) -> Vec<u8> {
    let prediction = state(&State {
        id: end.task_id,
        status: end_status(&end.outcome),
        created_at: end.submitted_at,
        started_at: end.started_at,
        completed_at: Some(end.finished_at),
        outcome: Some(&end.outcome),
    });
    prediction.to_string().into_bytes()
}

fn status(snapshot: &TaskSnapshot) -> &'static str {
    match (&snapshot.outcome, snapshot.state) {
        (Some(outcome), _) => end_status(outcome),
        (None, TaskState::Queued) => "starting",
        (None, _) => "processing",
    }
}

fn end_status(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Completed(_) => "succeeded",
        Outcome::Failed(_) => "failed",
        Outcome::Cancelled { .. } => "canceled",
    }
}

/// The data of a prediction that its task has.
struct State<'a> {
    id: TaskId,
    status: &'static str,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    outcome: Option<&'a Outcome>,
}

fn state(state: &State<'_>) -> Value {
    let (mut output, mut error) = (Value::Null, Value::Null);
    match state.outcome {
        // Language models on Replicate have an array of texts, which make up the answer.
        Some(Outcome::Completed(completion)) => output = json!([completion.first.text]),
        Some(Outcome::Failed(failed)) => error = json!(failed.message),
        Some(Outcome::Cancelled { .. }) | None => {}
    }
    let metrics = state.outcome.zip(state.completed_at).map(|(outcome, completed_at)| {
        let (created_at, started_at) = (state.created_at, state.started_at);
        let metrics = Metrics::new(created_at, started_at, completed_at, outcome.usage());
        json!({
            "predict_time": metrics.processing_time,
            "total_time": metrics.total_time,
            "input_token_count": metrics.prompt_tokens,
            "output_token_count": metrics.completion_tokens,
        })
    });
    json!({
        "id": state.id,
        "status": state.status,
        "output": output,
        "error": error,
        "logs": "",
        "metrics": metrics.unwrap_or_else(|| json!({})),
        "created_at": rfc3339(state.created_at),
        "started_at": state.started_at.map(rfc3339),
        "completed_at": state.completed_at.map(rfc3339),
        "data_removed": false,
        "source": "api",
    })
}
