//! [`ApiError`]: the reasons to reject a request, and their responses in FastAPI's shape
//! (`{"detail": …}`). Routes of another API family wrap [`ApiError`] and replace the body; status
//! and headers stay the same.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use protocol::{InvalidId, TaskId};
use queue::{Bound, BrokerError};
use serde_json::{Value, json};

use crate::validate::{FieldError, JsonError};

/// The `Retry-After` of a response while the queue is unavailable, in seconds.
const RETRY_UNAVAILABLE_S: u32 = 5;

/// The reason why a request is rejected.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// The request has no key, or one that is not accepted.
    Unauthorized,
    /// The request has a key, but not the operators'.
    NotOperator,
    /// The route is for operators, and no operators' key is configured.
    AdminClosed,
    /// No route has this path.
    NoSuchPath,
    /// The path exists, but not for this method.
    MethodNotAllowed {
        /// The allowed methods, as in the `Allow` header.
        allowed: &'static str,
    },
    /// This key has no such task.
    TaskNotFound(TaskId),
    /// The task existed, and its result has expired.
    ResultExpired {
        id: TaskId,
        /// The retention time of results, in seconds.
        result_ttl_s: u32,
    },
    /// Another resource that an operator named does not exist.
    NotFound {
        /// The kind of resource, for the log.
        what: &'static str,
        /// The message for the client, with what to do.
        message: String,
    },
    /// The request is invalid. Lists all problems.
    Invalid(Vec<FieldError>),
    /// The body exceeds the size limit.
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body's media type is not JSON.
    UnsupportedMediaType(String),
    /// The body did not arrive in time.
    BodyTimeout,
    /// The connection failed while the body was read.
    BodyBroken(String),
    /// The queue has reached a limit.
    QueueFull {
        /// The limit that was reached, for programs.
        code: &'static str,
        /// The broker's message.
        message: String,
        /// Estimated time until there is room again, in seconds.
        retry_after_s: u32,
    },
    /// The queue did not answer. The reason is only logged.
    Unavailable(String),
    /// This version cannot read the stored task. The text is logged and sent to the client.
    UnreadableRecord(String),
    /// A bug. The reason is only logged.
    Internal(String),
}

impl ApiError {
    /// Returns the `detail` of the response.
    fn detail(&self) -> Value {
        match self {
            Self::Unauthorized => json!("Invalid API key"),
            Self::NotOperator => {
                json!("This key may not operate the service: show the one of ADMIN_API_KEY")
            }
            Self::AdminClosed => json!(
                "The admin routes are closed: set ADMIN_API_KEY to a key of your own and start \
                 the gateway again"
            ),
            Self::NoSuchPath => {
                json!("Not Found: there is no such path; GET /docs describes the API")
            }
            Self::MethodNotAllowed { allowed } => {
                json!(format!("Method Not Allowed: this path takes {allowed}"))
            }
            Self::TaskNotFound(id) => json!(format!(
                "Task {id} not found: it never existed, its result has expired, \
                 or it belongs to another key"
            )),
            Self::ResultExpired { id, result_ttl_s } => json!(format!(
                "The result of task {id} has expired: results are kept for {result_ttl_s} s after the \
                 end (RESULT_TTL), or for the task's own result_ttl_s. Submit the prompt again and \
                 collect the result in that time"
            )),
            Self::NotFound { message, .. } => json!(message),
            Self::Invalid(errors) => json!(errors),
            Self::BodyTooLarge { limit } => {
                json!(format!("Request body too large: at most {limit} bytes are allowed"))
            }
            Self::UnsupportedMediaType(what) => json!(what),
            Self::BodyTimeout => json!("The request body took too long to arrive"),
            Self::BodyBroken(_) => json!("The request body could not be read to its end"),
            Self::QueueFull { message, .. } => json!(message),
            Self::Unavailable(_) => json!(format!(
                "The queue is unavailable; nothing is wrong with the request, \
                 try again in {RETRY_UNAVAILABLE_S} s"
            )),
            Self::UnreadableRecord(what) => json!(what),
            Self::Internal(_) => json!("Internal Server Error"),
        }
    }

    fn retry_after_s(&self) -> Option<u32> {
        match self {
            Self::QueueFull { retry_after_s, .. } => Some((*retry_after_s).clamp(1, 120)),
            Self::Unavailable(_) => Some(RETRY_UNAVAILABLE_S),
            _ => None,
        }
    }

    /// Returns `true` if repeating the same request cannot succeed.
    fn is_final(&self) -> bool {
        let status = self.status_code();
        status.is_client_error() && !matches!(status.as_u16(), 408 | 409 | 429)
            || matches!(self, Self::UnreadableRecord(_))
    }
}

impl fmt::Display for ApiError {
    /// Formats the error for the log: includes the reasons that clients don't get, and no text that
    /// a client sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unauthorized => f.write_str("no valid API key"),
            Self::NoSuchPath => f.write_str("no such path"),
            Self::MethodNotAllowed { .. } => f.write_str("method not allowed"),
            Self::NotOperator => f.write_str("not the operators' key"),
            Self::AdminClosed => f.write_str("no ADMIN_API_KEY is set"),
            Self::TaskNotFound(_) => f.write_str("no such task for this key"),
            Self::ResultExpired { .. } => f.write_str("the result has expired"),
            Self::NotFound { what, .. } => write!(f, "no such {what}"),
            Self::Invalid(errors) => {
                f.write_str("invalid request:")?;
                errors.iter().take(8).try_for_each(|error| write!(f, " {}", error.kind))
            }
            Self::BodyTooLarge { .. } => f.write_str("body too large"),
            Self::UnsupportedMediaType(_) => f.write_str("unsupported media type"),
            Self::BodyTimeout => f.write_str("body too slow"),
            Self::BodyBroken(reason) => write!(f, "body broken off: {reason}"),
            Self::QueueFull { message, .. } => f.write_str(message),
            Self::Unavailable(reason) => write!(f, "queue unavailable: {reason}"),
            Self::UnreadableRecord(reason) | Self::Internal(reason) => f.write_str(reason),
        }
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotOperator | Self::AdminClosed => StatusCode::FORBIDDEN,
            Self::NoSuchPath | Self::TaskNotFound(_) | Self::NotFound { .. } => {
                StatusCode::NOT_FOUND
            }
            Self::ResultExpired { .. } => StatusCode::GONE,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyBroken(_) => StatusCode::BAD_REQUEST,
            Self::QueueFull { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::UnreadableRecord(_) | Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if let Some(seconds) = self.retry_after_s() {
            response.insert_header((RETRY_AFTER, seconds));
        }
        if self.is_final() {
            response.insert_header(("x-should-retry", "false"));
        }
        match self {
            Self::Unauthorized => {
                response.insert_header((WWW_AUTHENTICATE, "Bearer"));
            }
            Self::MethodNotAllowed { allowed } => {
                response.insert_header((ALLOW, *allowed));
            }
            // Closes the connection, so that the rest of the body is not parsed as the next
            // request.
            Self::BodyTooLarge { .. } | Self::BodyTimeout | Self::BodyBroken(_) => {
                response.force_close();
            }
            _ => {}
        }
        let mut body = json!({ "detail": self.detail() });
        if let Self::QueueFull { code, .. } = self {
            body["code"] = json!(code);
        }
        response.json(body)
    }
}

impl From<BrokerError> for ApiError {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::Unavailable { reason } => Self::Unavailable(reason),
            BrokerError::QueueFull { bound, retry_after_s, .. } => Self::QueueFull {
                code: match bound {
                    Bound::Model => "queue_full",
                    Bound::Tenant => "tenant_queue_full",
                    Bound::Bytes => "queue_memory_full",
                },
                message: error.to_string(),
                retry_after_s,
            },
            BrokerError::KeyReused { .. } => Self::Invalid(vec![FieldError::new(
                ["header".into(), "Idempotency-Key".into()],
                "idempotency_key_reused",
                error.to_string(),
            )]),
            BrokerError::Record(_) => Self::UnreadableRecord(error.to_string()),
            BrokerError::LeaseLost { .. } | BrokerError::Corrupt(_) => {
                Self::Internal(error.to_string())
            }
        }
    }
}

impl From<InvalidId> for ApiError {
    fn from(error: InvalidId) -> Self {
        let message = error.to_string();
        Self::Invalid(vec![FieldError::new(
            ["path".into(), error.kind.into()],
            "uuid_parsing",
            message,
        )])
    }
}

impl From<JsonError> for ApiError {
    fn from(JsonError(error): JsonError) -> Self {
        Self::Invalid(vec![error])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'r>(response: &'r HttpResponse, name: &str) -> Option<&'r str> {
        response.headers().get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn retryable_errors_set_retry_after_and_others_set_x_should_retry() {
        let full =
            ApiError::QueueFull { code: "queue_full", message: "full".into(), retry_after_s: 900 };
        assert_eq!(header(&full.error_response(), "retry-after"), Some("120"));
        assert_eq!(header(&full.error_response(), "x-should-retry"), None);
        let down = ApiError::Unavailable("connection refused (10.0.0.7)".into());
        assert_eq!(header(&down.error_response(), "retry-after"), Some("5"));
        assert!(!down.detail().to_string().contains("10.0.0.7"), "reasons stay inside");
        for error in [
            ApiError::Unauthorized,
            ApiError::NoSuchPath,
            ApiError::Invalid(vec![]),
            ApiError::BodyTooLarge { limit: 1 },
            ApiError::UnreadableRecord("version 2".into()),
        ] {
            assert_eq!(header(&error.error_response(), "x-should-retry"), Some("false"), "{error}");
        }
        for error in [ApiError::BodyTimeout, ApiError::Internal("bug".into())] {
            assert_eq!(header(&error.error_response(), "x-should-retry"), None, "{error}");
        }
    }

    #[test]
    fn each_queue_bound_has_its_error_code() {
        for (bound, expected) in [
            (Bound::Model, "queue_full"),
            (Bound::Tenant, "tenant_queue_full"),
            (Bound::Bytes, "queue_memory_full"),
        ] {
            let model = protocol::ModelId::new("demo");
            let (held, limit, retry_after_s) = (7, 7, 1);
            let error = BrokerError::QueueFull { bound, model, held, limit, retry_after_s };
            let ApiError::QueueFull { code, .. } = ApiError::from(error) else { panic!() };
            assert_eq!(code, expected);
        }
    }

    #[test]
    fn broker_errors_map_to_http_statuses() {
        let status = |error: BrokerError| ApiError::from(error).status_code().as_u16();
        assert_eq!(status(BrokerError::Unavailable { reason: "x".into() }), 503);
        assert_eq!(status(BrokerError::Corrupt("x".into())), 500);
        let record = protocol::RecordError::Version { found: 9 };
        let error = ApiError::from(BrokerError::Record(record));
        assert_eq!(error.status_code().as_u16(), 500);
        assert!(error.detail().to_string().contains("version 9"));
    }
}
