//! [`Code`]: the kind of a refusal, its name and its status.

use actix_web::http::StatusCode;
use protocol::ErrorType;
use queue::Bound;

use crate::limited::Limited;

/// The kind of a refusal, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// The request has no key, or one that is not accepted.
    InvalidKey,
    /// The request has no credential that can be read unambiguously.
    BadCredentials,
    /// The client's address tried too many wrong credentials.
    TooManyFailures,
    /// The request has a key, but not the operators'.
    NotOperator,
    /// The request's credential does not permit it.
    PermissionDenied,
    /// The route is for operators, and no operators' key is configured.
    AdminClosed,
    /// No route has this path.
    NoSuchPath,
    /// The path exists, but not for this method.
    MethodNotAllowed,
    /// What the request names does not exist, or belongs to another key.
    NotFound,
    /// The task existed, and its result has expired.
    ResultExpired,
    /// The request is invalid; [`Refusal::problems`] lists all problems.
    Invalid,
    /// Another request changes the same thing at the same time.
    Conflict,
    /// The body exceeds the size limit.
    BodyTooLarge,
    /// The body's media type, charset or encoding is not supported.
    UnsupportedMediaType,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The connection failed while the body was read.
    BodyBroken,
    /// The queue has reached a limit.
    QueueFull(Bound),
    /// A limit on use has no room.
    LimitReached(Limited),
    /// The queue did not answer.
    Unavailable,
    /// This version cannot read the stored task.
    UnreadableRecord,
    /// The task failed.
    TaskFailed(ErrorType),
    /// The task was cancelled while the request waited for it.
    TaskCancelled,
    /// The answer broke off after a part of it was sent.
    Interrupted,
    /// The client disconnected.
    ClientGone,
    /// A bug.
    Internal,
    /// An error of the HTTP framework; [`Refusal::status`] tells which.
    Http,
}

impl Code {
    /// Returns the code's name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::InvalidKey => "invalid_api_key",
            Self::BadCredentials => "bad_credentials",
            Self::TooManyFailures => "too_many_failures",
            Self::NotOperator => "not_operator",
            Self::PermissionDenied => "permission_denied",
            Self::AdminClosed => "admin_closed",
            Self::NoSuchPath => "no_such_path",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::NotFound => "not_found",
            Self::ResultExpired => "result_expired",
            Self::Invalid => "invalid_request",
            Self::Conflict => "conflict",
            Self::BodyTooLarge => "body_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::BodyTimeout => "body_timeout",
            Self::BodyBroken => "body_broken",
            Self::QueueFull(Bound::Model) => "queue_full",
            Self::QueueFull(Bound::Tenant) => "tenant_queue_full",
            Self::QueueFull(Bound::Bytes) => "queue_memory_full",
            Self::LimitReached(_) => "rate_limited",
            Self::Unavailable => "queue_unavailable",
            Self::UnreadableRecord => "unreadable_record",
            Self::TaskFailed(kind) => kind.as_str(),
            Self::TaskCancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::ClientGone => "client_closed_request",
            Self::Internal => "internal_error",
            Self::Http => "http_error",
        }
    }

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::InvalidKey => StatusCode::UNAUTHORIZED,
            Self::NotOperator | Self::PermissionDenied | Self::AdminClosed => StatusCode::FORBIDDEN,
            Self::NoSuchPath | Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::ResultExpired => StatusCode::GONE,
            Self::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyBroken | Self::BadCredentials => StatusCode::BAD_REQUEST,
            Self::QueueFull(_) | Self::LimitReached(_) | Self::TooManyFailures => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::Unavailable | Self::Interrupted => StatusCode::SERVICE_UNAVAILABLE,
            Self::TaskFailed(kind) => match kind {
                ErrorType::ContextLengthExceeded | ErrorType::InvalidRequest => {
                    StatusCode::BAD_REQUEST
                }
                ErrorType::TimeLimitExceeded => StatusCode::GATEWAY_TIMEOUT,
                ErrorType::Expired | ErrorType::OutOfMemory | ErrorType::WorkerLost => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
                ErrorType::EngineError | ErrorType::UnreadableRecord | ErrorType::Unknown => {
                    StatusCode::INTERNAL_SERVER_ERROR
                }
            },
            Self::TaskCancelled | Self::Conflict => StatusCode::CONFLICT,
            // As nginx logs it. Nobody reads the response.
            Self::ClientGone => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            Self::UnreadableRecord | Self::Internal | Self::Http => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }
}
