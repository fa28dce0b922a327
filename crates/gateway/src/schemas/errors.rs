//! What the API may answer instead of what was asked for.

use serde_json::Value;
use utoipa::{IntoResponses, ToSchema};

/// What went wrong.
#[derive(ToSchema)]
#[allow(dead_code)]
pub(crate) struct ErrorReply {
    /// In words.
    detail: String,
}

/// What is full.
#[derive(ToSchema)]
#[allow(dead_code)]
pub(crate) struct FullReply {
    /// In words.
    detail: String,
    /// `queue_full` (the model's), `tenant_queue_full` (your key's) or `queue_memory_full` (bytes).
    code: String,
}

/// All that is wrong with a request.
#[derive(ToSchema)]
#[allow(dead_code)]
pub(crate) struct InvalidReply {
    /// One entry for each problem.
    detail: Vec<Problem>,
}

/// One problem.
#[derive(ToSchema)]
#[allow(dead_code)]
pub(crate) struct Problem {
    /// Where: names, and indices or byte offsets.
    #[schema(value_type = Vec<Step>, example = json!(["body", "max_tokens"]))]
    loc: Vec<Value>,
    /// What was wrong and what is allowed.
    #[schema(example = "must be an integer from 1 to 2048, got 0")]
    msg: String,
    /// What kind of problem: `missing`, `json_invalid`, `extra_forbidden`, `int_type`, ….
    #[schema(example = "greater_than_equal")]
    r#type: String,
}

/// A name, an index or a byte offset.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code)]
pub(crate) enum Step {
    Name(String),
    Index(u64),
}

/// What a route behind a key may answer that needs nothing else.
#[derive(IntoResponses)]
#[allow(dead_code)]
pub(crate) enum KeyErrors {
    /// No key, or none of ours.
    #[response(status = 401, example = json!({"detail": "Invalid API key"}))]
    Unauthorized(ErrorReply),
    /// A bug.
    #[response(status = 500, example = json!({"detail": "Internal Server Error"}))]
    Internal(ErrorReply),
}

/// What any route that is about a task may answer.
#[derive(IntoResponses)]
#[allow(dead_code)]
pub(crate) enum TaskErrors {
    /// No key, or none of ours.
    #[response(status = 401, example = json!({"detail": "Invalid API key"}))]
    Unauthorized(ErrorReply),
    /// No such task: it never existed, its result has expired, or it belongs to another key.
    #[response(status = 404, example = json!({"detail": "Task 0192f0c1-2345-7abc-8def-0123456789ab not found: it never existed, its result has expired, or it belongs to another key"}))]
    NotFound(ErrorReply),
    /// The task was this key's, and its result has expired.
    #[response(status = 410, example = json!({"detail": "The result of task 0192f0c1-2345-7abc-8def-0123456789ab has expired: results are kept for 3600 s after the end (RESULT_TTL), or for the task's own result_ttl_s. Submit the prompt again and collect the result in that time"}))]
    Gone(ErrorReply),
    /// Something in the request is not as it should be.
    #[response(status = 422)]
    Invalid(InvalidReply),
    /// The stored task was written by another version, or a bug.
    #[response(status = 500, example = json!({"detail": "Internal Server Error"}))]
    Internal(ErrorReply),
    /// The queue is unavailable; try again (`Retry-After`).
    #[response(status = 503, example = json!({"detail": "The queue is unavailable; nothing is wrong with the request, try again in 5 s"}))]
    Unavailable(ErrorReply),
}

/// What a submit may answer instead of 202.
#[derive(IntoResponses)]
#[allow(dead_code)]
pub(crate) enum SubmitErrors {
    /// The body broke off.
    #[response(status = 400, example = json!({"detail": "The request body could not be read to its end"}))]
    Broken(ErrorReply),
    /// No key, or none of ours.
    #[response(status = 401, example = json!({"detail": "Invalid API key"}))]
    Unauthorized(ErrorReply),
    /// The body came too slowly.
    #[response(status = 408, example = json!({"detail": "The request body took too long to arrive"}))]
    Slow(ErrorReply),
    /// The body is too large.
    #[response(status = 413, example = json!({"detail": "Request body too large: at most 6356992 bytes are allowed"}))]
    TooLarge(ErrorReply),
    /// The body is not sent as JSON.
    #[response(status = 415, example = json!({"detail": "Unsupported Content-Type 'text/plain': send JSON with 'Content-Type: application/json'"}))]
    NotJson(ErrorReply),
    /// The body is not valid; every problem is listed.
    #[response(status = 422)]
    Invalid(InvalidReply),
    /// The queue is full, for the model, for your key or in bytes; try again (`Retry-After`).
    #[response(status = 429, example = json!({"code": "queue_full", "detail": "the queue of model 'demo' is full: 1000 tasks wait, 1000 are allowed; try again in 12 s"}))]
    Full(FullReply),
    /// A bug.
    #[response(status = 500, example = json!({"detail": "Internal Server Error"}))]
    Internal(ErrorReply),
    /// The queue is unavailable; try again (`Retry-After`).
    #[response(status = 503, example = json!({"detail": "The queue is unavailable; nothing is wrong with the request, try again in 5 s"}))]
    Unavailable(ErrorReply),
}

/// What any of the operators' routes may answer.
#[derive(IntoResponses)]
#[allow(dead_code)]
pub(crate) enum AdminErrors {
    /// No key, or none of ours.
    #[response(status = 401, example = json!({"detail": "Invalid API key"}))]
    Unauthorized(ErrorReply),
    /// Not the operators' key, or none is set.
    #[response(status = 403, example = json!({"detail": "This key may not operate the service: show the one of ADMIN_API_KEY"}))]
    Forbidden(ErrorReply),
    /// A bug.
    #[response(status = 500, example = json!({"detail": "Internal Server Error"}))]
    Internal(ErrorReply),
    /// The queue is unavailable; try again (`Retry-After`).
    #[response(status = 503, example = json!({"detail": "The queue is unavailable; nothing is wrong with the request, try again in 5 s"}))]
    Unavailable(ErrorReply),
}
