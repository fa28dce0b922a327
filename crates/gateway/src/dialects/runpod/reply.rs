//! Formats a job.

use protocol::{
    Choice, Completion, ErrorType, Outcome, TaskId, TaskSnapshot, TaskState, Timestamp, Usage,
};
use queue::TaskEnd;
use serde_json::{Value, json};

use crate::follow::answer::Answer;

/// Formats a task as a job.
pub(super) fn job(snapshot: &TaskSnapshot) -> Value {
    format(&Job {
        id: snapshot.task.id,
        status: status(snapshot),
        submitted_at: snapshot.submitted_at,
        started_at: snapshot.started_at,
        finished_at: snapshot.finished_at,
        outcome: snapshot.outcome.as_ref(),
    })
}

/// Formats the body of a webhook: the job.
pub(in crate::dialects) fn webhook_body(end: &TaskEnd) -> Vec<u8> {
    let job = format(&Job {
        id: end.task_id,
        status: end_status(&end.outcome),
        submitted_at: end.submitted_at,
        started_at: end.started_at,
        finished_at: Some(end.finished_at),
        outcome: Some(&end.outcome),
    });
    job.to_string().into_bytes()
}

/// Returns the status of a task's job.
pub(super) fn status(snapshot: &TaskSnapshot) -> &'static str {
    match (&snapshot.outcome, snapshot.state) {
        (Some(outcome), _) => end_status(outcome),
        (None, TaskState::Queued) => "IN_QUEUE",
        (None, _) => "IN_PROGRESS",
    }
}

fn end_status(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Completed(_) => "COMPLETED",
        Outcome::Failed(error) => match error.error_type {
            ErrorType::TimeLimitExceeded | ErrorType::Expired => "TIMED_OUT",
            _ => "FAILED",
        },
        Outcome::Cancelled { .. } => "CANCELLED",
    }
}

/// The data of a job.
struct Job<'a> {
    id: TaskId,
    status: &'static str,
    submitted_at: Timestamp,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    outcome: Option<&'a Outcome>,
}

fn format(job: &Job<'_>) -> Value {
    let mut reply = json!({"id": job.id, "status": job.status});
    let millis = |from: Timestamp, to: Timestamp| to.as_millis().saturating_sub(from.as_millis());
    if let Some(end) = job.started_at.or(job.finished_at) {
        reply["delayTime"] = json!(millis(job.submitted_at, end));
    }
    if let (Some(started), Some(finished)) = (job.started_at, job.finished_at) {
        reply["executionTime"] = json!(millis(started, finished));
    }
    match job.outcome {
        Some(Outcome::Completed(completion)) => reply["output"] = output(completion),
        Some(Outcome::Failed(error)) => reply["error"] = json!(error.message),
        Some(Outcome::Cancelled { .. }) | None => {}
    }
    reply
}

/// Formats an answer as RunPod's own worker for language models does.
fn output(completion: &Completion) -> Value {
    let choices: Value = completion.choices().map(choice).collect();
    let Usage { prompt_tokens, completion_tokens, .. } = completion.usage;
    json!([{
        "choices": choices,
        "usage": {"input": prompt_tokens, "output": completion_tokens},
    }])
}

fn choice(choice: &Choice) -> Value {
    let answer = Answer::from(choice);
    let mut reply = json!({"tokens": [answer.text], "finish_reason": choice.finish_reason});
    if !answer.reasoning.is_empty() {
        reply["reasoning"] = json!(answer.reasoning);
    }
    if !choice.tool_calls.is_empty() {
        reply["tool_calls"] = json!(choice.tool_calls);
    }
    if let Some(logprobs) = &choice.logprobs {
        reply["logprobs"] = json!(logprobs);
    }
    reply
}

/// Formats a piece of an answer.
pub(super) fn piece(text: &str) -> Value {
    json!({"output": {"choices": [{"tokens": [text]}]}})
}
