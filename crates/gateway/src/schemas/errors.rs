//! Error responses.

use serde_json::Value;
use utoipa::{IntoResponses, ToSchema};

/// An error.
#[derive(ToSchema)]
#[allow(dead_code)]
pub(crate) struct ErrorReply {
    /// The message for people.
    detail: String,
}

/// A limit of the queue is reached.
#[derive(ToSchema)]
#[allow(dead_code)]
pub(crate) struct FullReply {
    /// The message for people.
    detail: String,
    /// The limit: `queue_full` (the model's), `tenant_queue_full` (the API key's) or `queue_memory_full` (bytes).
    code: String,
}

/// All problems of an invalid request.
#[derive(ToSchema)]
#[allow(dead_code)]
pub(crate) struct InvalidReply {
    /// The problems.
    detail: Vec<Problem>,
}

/// One problem.
#[derive(ToSchema)]
#[allow(dead_code)]
pub(crate) struct Problem {
    /// The path to the invalid value: names, and indices or byte offsets.
    #[schema(value_type = Vec<Step>, example = json!(["body", "max_tokens"]))]
    loc: Vec<Value>,
    /// The problem, and the allowed values.
    #[schema(example = "must be an integer from 1 to 2048, got 0")]
    msg: String,
    /// The kind of problem: `missing`, `json_invalid`, `extra_forbidden`, `int_type`, ….
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

/// Errors of a route that needs a key and nothing else.
#[derive(IntoResponses)]
#[allow(dead_code)]
pub(crate) enum KeyErrors {
    /// The API key is missing or invalid.
    #[response(status = 401, example = json!({"detail": "Invalid API key"}))]
    Unauthorized(ErrorReply),
    /// Internal error.
    #[response(status = 500, example = json!({"detail": "Internal Server Error"}))]
    Internal(ErrorReply),
}

/// Errors of a route for a task.
#[derive(IntoResponses)]
#[allow(dead_code)]
pub(crate) enum TaskErrors {
    /// The API key is missing or invalid.
    #[response(status = 401, example = json!({"detail": "Invalid API key"}))]
    Unauthorized(ErrorReply),
    /// There is no such task: it never existed, its result has expired, or it belongs to another key.
    #[response(status = 404, example = json!({"detail": "Task 0192f0c1-2345-7abc-8def-0123456789ab not found: it never existed, its result has expired, or it belongs to another key"}))]
    NotFound(ErrorReply),
    /// The task belonged to this key, and its result has expired.
    #[response(status = 410, example = json!({"detail": "The result of task 0192f0c1-2345-7abc-8def-0123456789ab has expired: results are kept for 3600 s after the end (RESULT_TTL), or for the task's own result_ttl_s. Submit the prompt again and collect the result in that time"}))]
    Gone(ErrorReply),
    /// The request is invalid.
    #[response(status = 422)]
    Invalid(InvalidReply),
    /// The stored task was written by another version, or an internal error occurred.
    #[response(status = 500, example = json!({"detail": "Internal Server Error"}))]
    Internal(ErrorReply),
    /// The queue is unavailable. Retry after `Retry-After`.
    #[response(status = 503, example = json!({"detail": "The queue is unavailable; nothing is wrong with the request, try again in 5 s"}))]
    Unavailable(ErrorReply),
}

/// Errors of a submit.
#[derive(IntoResponses)]
#[allow(dead_code)]
pub(crate) enum SubmitErrors {
    /// The body ended early.
    #[response(status = 400, example = json!({"detail": "The request body could not be read to its end"}))]
    Broken(ErrorReply),
    /// The API key is missing or invalid.
    #[response(status = 401, example = json!({"detail": "Invalid API key"}))]
    Unauthorized(ErrorReply),
    /// The body did not arrive in time.
    #[response(status = 408, example = json!({"detail": "The request body took too long to arrive"}))]
    Slow(ErrorReply),
    /// The body is too large.
    #[response(status = 413, example = json!({"detail": "Request body too large: at most 6356992 bytes are allowed"}))]
    TooLarge(ErrorReply),
    /// The body is not JSON.
    #[response(status = 415, example = json!({"detail": "Unsupported Content-Type 'text/plain': send JSON with 'Content-Type: application/json'"}))]
    NotJson(ErrorReply),
    /// The body is invalid; all problems are listed.
    #[response(status = 422)]
    Invalid(InvalidReply),
    /// The queue is full: of the model, of the API key, or in bytes; or a limit on use is reached. Retry after
    /// `Retry-After`.
    #[response(status = 429, example = json!({"code": "queue_full", "detail": "the queue of model 'demo' is full: 1000 tasks wait, 1000 are allowed; try again in 12 s"}))]
    Full(FullReply),
    /// Internal error.
    #[response(status = 500, example = json!({"detail": "Internal Server Error"}))]
    Internal(ErrorReply),
    /// The queue is unavailable. Retry after `Retry-After`.
    #[response(status = 503, example = json!({"detail": "The queue is unavailable; nothing is wrong with the request, try again in 5 s"}))]
    Unavailable(ErrorReply),
}

/// Errors of an operators' route.
#[derive(IntoResponses)]
#[allow(dead_code)]
pub(crate) enum AdminErrors {
    /// The API key is missing or invalid.
    #[response(status = 401, example = json!({"detail": "Invalid API key"}))]
    Unauthorized(ErrorReply),
    /// The key is not the operators' key, or none is configured.
    #[response(status = 403, example = json!({"detail": "This key may not operate the service: show the one of ADMIN_API_KEY"}))]
    Forbidden(ErrorReply),
    /// Internal error.
    #[response(status = 500, example = json!({"detail": "Internal Server Error"}))]
    Internal(ErrorReply),
    /// The queue is unavailable. Retry after `Retry-After`.
    #[response(status = 503, example = json!({"detail": "The queue is unavailable; nothing is wrong with the request, try again in 5 s"}))]
    Unavailable(ErrorReply),
}

/// Errors of an upload.
#[derive(IntoResponses)]
#[allow(dead_code)]
pub(crate) enum UploadErrors {
    /// The body ended early.
    #[response(status = 400, example = json!({"detail": "The request body could not be read to its end"}))]
    Broken(ErrorReply),
    /// The API key is missing or invalid.
    #[response(status = 401, example = json!({"detail": "Invalid API key"}))]
    Unauthorized(ErrorReply),
    /// The body did not arrive in time.
    #[response(status = 408, example = json!({"detail": "The request body took too long to arrive"}))]
    Slow(ErrorReply),
    /// The file is too large.
    #[response(status = 413, example = json!({"detail": "Request body too large: at most 209715200 bytes are allowed"}))]
    TooLarge(ErrorReply),
    /// The request is invalid, or the key has no room for the file.
    #[response(status = 422)]
    Invalid(InvalidReply),
    /// Internal error.
    #[response(status = 500, example = json!({"detail": "Internal Server Error"}))]
    Internal(ErrorReply),
    /// The queue is unavailable. Retry after `Retry-After`.
    #[response(status = 503, example = json!({"detail": "The queue is unavailable; nothing is wrong with the request, try again in 5 s"}))]
    Unavailable(ErrorReply),
}

/// Errors of a route for a stored file.
#[derive(IntoResponses)]
#[allow(dead_code)]
pub(crate) enum BlobErrors {
    /// The API key is missing or invalid.
    #[response(status = 401, example = json!({"detail": "Invalid API key"}))]
    Unauthorized(ErrorReply),
    /// There is no such file: it never existed, it has expired or was deleted, or it belongs to another key.
    #[response(status = 404, example = json!({"detail": "Blob '0192f0c1-2345-7abc-8def-0123456789ab' not found: it never existed, it has expired or was deleted, or it belongs to another key"}))]
    NotFound(ErrorReply),
    /// Internal error.
    #[response(status = 500, example = json!({"detail": "Internal Server Error"}))]
    Internal(ErrorReply),
    /// The queue is unavailable. Retry after `Retry-After`.
    #[response(status = 503, example = json!({"detail": "The queue is unavailable; nothing is wrong with the request, try again in 5 s"}))]
    Unavailable(ErrorReply),
}
