//! [`Refusal`]: why a request is refused, as a value that knows no API's error format. Handlers
//! return it; the dialect that owns the request's path gives it its shape
//! ([`crate::dialect::Dialect::shape`]).

mod code;

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use protocol::{ErrorType, InvalidId, Lane, ModelId, TaskError, TaskId};
use queue::{BrokerError, Exhausted, Reading};

pub(crate) use self::code::Code;
use crate::limited::{self, Limited};
use crate::validate::{FieldError, JsonError, echo};

/// The `Retry-After` of a response while the queue is unavailable, in seconds.
const RETRY_UNAVAILABLE_S: u32 = 5;
/// Maximum `Retry-After`, in seconds.
const MAX_RETRY_S: u32 = 120;

/// Whether the same request may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    /// It cannot.
    Never,
    /// It may.
    Possible,
    /// It is likely to after this many seconds.
    After(u32),
}

/// The reason why a request is refused.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// The HTTP status; a dialect may send another.
    pub(crate) status: StatusCode,
    /// The kind, for programs.
    pub(crate) code: Code,
    /// The message for people. Never has the reason of an outage or of a bug.
    pub(crate) message: String,
    /// All problems of an invalid request, each with its place; empty for other refusals.
    pub(crate) problems: Vec<FieldError>,
    /// Whether to try again.
    pub(crate) retry: Retry,
    /// The exact wait, beside [`Retry::After`].
    retry_ms: Option<NonZeroU32>,
    /// The state of the limit that has no room.
    pub(crate) reading: Option<Box<Reading>>,
    /// The field that made a worker refuse the task.
    param: Option<Box<str>>,
    /// The methods that the path takes, for the `Allow` header.
    allow: Option<&'static str>,
    /// The reason for the log. Contains no text that a client sent.
    reason: Box<str>,
}

impl Refusal {
    fn new(code: Code, message: impl Into<String>, reason: impl Into<String>) -> Self {
        let status = code.status();
        let retry = match status.as_u16() {
            408 | 409 | 429 | 500.. => Retry::Possible,
            _ => Retry::Never,
        };
        let (message, reason) = (message.into(), reason.into().into_boxed_str());
        let problems = Vec::new();
        Self {
            status,
            code,
            message,
            problems,
            retry,
            retry_ms: None,
            reading: None,
            param: None,
            allow: None,
            reason,
        }
    }

    /// No accepted key.
    pub(crate) fn invalid_key() -> Self {
        Self::new(Code::InvalidKey, "Invalid API key", "no valid API key")
    }

    /// A key that is known, and not accepted for the reason that `message` says.
    pub(crate) fn key_refused(message: impl Into<String>) -> Self {
        let message = message.into();
        Self::new(Code::InvalidKey, message.clone(), message)
    }

    /// The request's credential cannot be read unambiguously, as `message` says.
    pub(crate) fn bad_credentials(message: impl Into<String>) -> Self {
        Self::new(Code::BadCredentials, message, "ambiguous or misplaced credentials")
    }

    /// The client's address tried too many wrong credentials.
    pub(crate) fn too_many_failures(retry_after_s: u32) -> Self {
        let message = format!(
            "Too many requests with wrong keys came from this address: check the key, and try again \
             in {retry_after_s} s"
        );
        let refusal = Self::new(Code::TooManyFailures, message, "too many wrong keys");
        Self { retry: Retry::After(retry_after_s), ..refusal }
    }

    /// A key that is not the operators'.
    pub(crate) fn not_operator() -> Self {
        let message = "This key may not operate the service: show the one of ADMIN_API_KEY";
        Self::new(Code::NotOperator, message, "not the operators' key")
    }

    /// A key that may only read.
    pub(crate) fn read_only() -> Self {
        let message = "This API key may only read: to submit, cancel or delete, use one with the \
                       scope 'submit'";
        Self::new(Code::PermissionDenied, message, "the key may only read")
    }

    /// The key may not use this model.
    pub(crate) fn model_not_allowed(model: &ModelId, allowed: &BTreeSet<ModelId>) -> Self {
        let allowed: Vec<&str> = allowed.iter().map(ModelId::as_str).collect();
        let message = format!(
            "This API key may not use the model '{}'. Allowed: {}",
            echo(model.as_str()),
            allowed.join(", ")
        );
        Self::new(Code::PermissionDenied, message, "the key may not use the model")
    }

    /// The key may not use this lane.
    pub(crate) fn lane_not_allowed(requested: Lane, highest: Lane) -> Self {
        let message = format!(
            "This API key may not use the priority '{}'; its most urgent one is '{}'",
            requested.as_str(),
            highest.as_str()
        );
        Self::new(Code::PermissionDenied, message, "the key may not use the lane")
    }

    /// No operators' key is configured.
    pub(crate) fn admin_closed() -> Self {
        let message = "The admin routes are closed: set ADMIN_API_KEY to a key of your own and start \
                       the gateway again";
        Self::new(Code::AdminClosed, message, "no ADMIN_API_KEY is set")
    }

    /// No route has this path.
    pub(crate) fn no_such_path() -> Self {
        let message = "Not Found: there is no such path; GET /docs describes the API";
        Self::new(Code::NoSuchPath, message, "no such path")
    }

    /// The path takes only the `allowed` methods, which are listed as in the `Allow` header.
    pub(crate) fn method_not_allowed(allowed: &'static str) -> Self {
        let message = format!("Method Not Allowed: this path takes {allowed}");
        let refusal = Self::new(Code::MethodNotAllowed, message, "method not allowed");
        Self { allow: Some(allowed), ..refusal }
    }

    /// This key has no such task.
    pub(crate) fn no_such_task(id: TaskId) -> Self {
        let message = format!(
            "Task {id} not found: it never existed, its result has expired, \
             or it belongs to another key"
        );
        Self::new(Code::NotFound, message, "no such task for this key")
    }

    /// The result of the caller's task has expired; results are kept for `result_ttl_s` seconds.
    pub(crate) fn result_expired(id: TaskId, result_ttl_s: u32) -> Self {
        let message = format!(
            "The result of task {id} has expired: results are kept for {result_ttl_s} s after the \
             end (RESULT_TTL), or for the task's own result_ttl_s. Submit the prompt again and \
             collect the result in that time"
        );
        Self::new(Code::ResultExpired, message, "the result has expired")
    }

    /// What the request names does not exist. `what` is its kind, for the log; `message` says what
    /// to do.
    pub(crate) fn not_found(what: &'static str, message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, message, format!("no such {what}"))
    }

    /// The request is invalid. `problems` has all problems, at least one.
    pub(crate) fn invalid(problems: Vec<FieldError>) -> Self {
        let messages: Vec<&str> = problems.iter().map(|problem| &*problem.message).collect();
        let kinds: String =
            problems.iter().take(8).map(|problem| format!(" {}", problem.kind)).collect();
        let reason = format!("invalid request:{kinds}");
        let refusal = Self::new(Code::Invalid, messages.join("; "), reason);
        Self { problems, ..refusal }
    }

    /// Other requests change the same thing at the same time.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(Code::Conflict, message, "concurrent changes")
    }

    /// The body exceeds `limit` bytes.
    pub(crate) fn body_too_large(limit: usize) -> Self {
        let message = format!("Request body too large: at most {limit} bytes are allowed");
        Self::new(Code::BodyTooLarge, message, "body too large")
    }

    /// The body's type, charset or encoding is not supported; `message` says what to send.
    pub(crate) fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(Code::UnsupportedMediaType, message, "unsupported media type")
    }

    /// The body did not arrive in time.
    pub(crate) fn body_timeout() -> Self {
        let message = "The request body took too long to arrive";
        Self::new(Code::BodyTimeout, message, "body too slow")
    }

    /// The connection failed while the body was read.
    pub(crate) fn body_broken(reason: &impl fmt::Display) -> Self {
        let message = "The request body could not be read to its end";
        Self::new(Code::BodyBroken, message, format!("body broken off: {reason}"))
    }

    /// Too many requests with large images are read at the same time.
    pub(crate) fn busy_with_images(waited: Duration) -> Self {
        let message = format!(
            "Too many requests with large images arrive at the same time; this one waited for {} s. Try \
             again in {RETRY_UNAVAILABLE_S} s, or upload images with POST /blobs",
            waited.as_secs()
        );
        let refusal = Self::new(Code::Unavailable, message, "too many large bodies");
        Self { retry: Retry::After(RETRY_UNAVAILABLE_S), ..refusal }
    }

    /// A limit on use has no room.
    fn limit_reached(exhausted: Exhausted) -> Self {
        let limited = Limited::of(&exhausted);
        let wait = exhausted.retry_after.unwrap_or_default();
        let (retry, retry_ms) = match limited {
            Limited::TooLarge | Limited::Quota => (Retry::Never, None),
            Limited::Requests | Limited::Tokens | Limited::InFlight => {
                let wait = wait.min(Duration::from_secs(MAX_RETRY_S.into()));
                let ms = wait.as_micros().div_ceil(1_000).max(1);
                let seconds = u32::try_from(ms.div_ceil(1_000)).unwrap_or(MAX_RETRY_S);
                (Retry::After(seconds), u32::try_from(ms).ok().and_then(NonZeroU32::new))
            }
        };
        let reason = format!("limit reached: {limited:?}");
        let refusal = Self::new(Code::LimitReached(limited), limited::message(&exhausted), reason);
        Self { retry, retry_ms, reading: Some(Box::new(exhausted.reading)), ..refusal }
    }

    /// The queue did not answer. The reason is only logged.
    pub(crate) fn unavailable(reason: impl fmt::Display) -> Self {
        let message = format!(
            "The queue is unavailable; nothing is wrong with the request, \
             try again in {RETRY_UNAVAILABLE_S} s"
        );
        let refusal = Self::new(Code::Unavailable, message, format!("queue unavailable: {reason}"));
        Self { retry: Retry::After(RETRY_UNAVAILABLE_S), ..refusal }
    }

    /// The task that the request waited for has failed.
    pub(crate) fn failed(error: &TaskError) -> Self {
        let kind = error.error_type;
        let refusal = Self::new(
            Code::TaskFailed(kind),
            error.message.clone(),
            format!("task failed: {kind}"),
        );
        let refusal = Self { param: error.param.as_deref().map(Box::from), ..refusal };
        // The same request would reach the limit again.
        match kind {
            ErrorType::TimeLimitExceeded => Self { retry: Retry::Never, ..refusal },
            _ => refusal,
        }
    }

    /// The task that the request waited for was cancelled by another request.
    pub(crate) fn cancelled() -> Self {
        let refusal = Self::new(Code::TaskCancelled, "The task was cancelled", "task cancelled");
        Self { retry: Retry::Never, ..refusal }
    }

    /// The answer broke off after a part of it was sent.
    pub(crate) fn interrupted(message: impl Into<String>) -> Self {
        Self::new(Code::Interrupted, message, "the answer broke off")
    }

    /// The client disconnected while the request waited for its task, which is cancelled.
    pub(crate) fn client_gone() -> Self {
        let message = "The client disconnected, so the task was cancelled";
        Self::new(Code::ClientGone, message, "the client disconnected")
    }

    /// A bug. The reason is only logged.
    pub(crate) fn internal(reason: impl Into<String>) -> Self {
        Self::new(Code::Internal, "Internal Server Error", reason)
    }

    /// An error that the HTTP framework returned, such as an undecodable path.
    pub(crate) fn http(status: StatusCode) -> Self {
        let text = status.canonical_reason().unwrap_or("Unknown Error");
        let retry = if status.is_client_error() { Retry::Never } else { Retry::Possible };
        Self { status, retry, ..Self::new(Code::Http, text, text) }
    }

    /// Returns the path of the first invalid value within its part of the request
    /// (`messages.0.content`), or the field that made a worker refuse the task.
    pub(crate) fn param(&self) -> Option<String> {
        match self.problems.first() {
            Some(problem) => problem.param(),
            None => self.param.as_deref().map(str::to_owned),
        }
    }

    /// Returns the message, with the path of each invalid value: `messages.0.content: …`.
    pub(crate) fn message_with_paths(&self) -> String {
        if self.problems.is_empty() {
            return self.message.clone();
        }
        let problems = self.problems.iter().map(FieldError::message_with_path);
        problems.collect::<Vec<_>>().join("; ")
    }

    /// Starts the response: the status, and the headers that all dialects send.
    pub(crate) fn response(&self, status: StatusCode) -> HttpResponseBuilder {
        let mut response = HttpResponse::build(status);
        match self.retry {
            Retry::Never => {
                response.insert_header(("x-should-retry", "false"));
            }
            Retry::After(seconds) => {
                response.insert_header((RETRY_AFTER, seconds));
                if let Some(ms) = self.retry_ms {
                    response.insert_header(("retry-after-ms", ms.to_string()));
                }
            }
            Retry::Possible => {}
        }
        if let Some(allowed) = self.allow {
            response.insert_header((ALLOW, allowed));
        }
        match self.code {
            Code::InvalidKey => {
                response.insert_header((WWW_AUTHENTICATE, "Bearer"));
            }
            // Closes the connection, so that the rest of the body is not parsed as the next
            // request.
            Code::BodyTooLarge | Code::BodyTimeout | Code::BodyBroken => {
                response.force_close();
            }
            _ => {}
        }
        response
    }
}

impl fmt::Display for Refusal {
    /// Formats the refusal for the log: includes the reasons that clients don't get, and no text
    /// that a client sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    /// Returns a response without a body: `middleware::observe` replaces it by the dialect's.
    fn error_response(&self) -> HttpResponse {
        self.response(self.status).finish()
    }
}

impl From<BrokerError> for Refusal {
    fn from(error: BrokerError) -> Self {
        let text = error.to_string();
        match error {
            BrokerError::Unavailable { reason } => Self::unavailable(reason),
            BrokerError::QueueFull { bound, retry_after_s, .. } => {
                let retry = Retry::After(retry_after_s.clamp(1, MAX_RETRY_S));
                Self { retry, ..Self::new(Code::QueueFull(bound), text.clone(), text) }
            }
            BrokerError::LimitReached(exhausted) => Self::limit_reached(*exhausted),
            BrokerError::KeyReused { .. } => Self::invalid(vec![FieldError::new(
                ["header".into(), "Idempotency-Key".into()],
                "idempotency_key_reused",
                text,
            )]),
            BrokerError::PeriodicChanged(_) => Self::new(Code::Conflict, text.clone(), text),
            BrokerError::Record(_) => {
                let refusal = Self::new(Code::UnreadableRecord, text.clone(), text);
                Self { retry: Retry::Never, ..refusal }
            }
            BrokerError::LeaseLost { .. } | BrokerError::Corrupt(_) => Self::internal(text),
        }
    }
}

impl From<InvalidId> for Refusal {
    fn from(error: InvalidId) -> Self {
        let message = error.to_string();
        Self::invalid(vec![FieldError::new(
            ["path".into(), error.kind.into()],
            "uuid_parsing",
            message,
        )])
    }
}

impl From<JsonError> for Refusal {
    fn from(JsonError(error): JsonError) -> Self {
        Self::invalid(vec![error])
    }
}

#[cfg(test)]
mod tests;
