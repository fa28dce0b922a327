//! OpenAI's error format: `{"error": {"message", "type", "param", "code"}}`.

use actix_web::http::StatusCode;
use protocol::ErrorType;
use serde_json::{Value, json};

use crate::limited::Limited;
use crate::refusal::{Code, Refusal};
use crate::validate::UNKNOWN_MODEL;

/// The type and the code of a daily limit.
const QUOTA: &str = "insufficient_quota";

/// Formats a refusal.
pub(super) fn shape(refusal: &Refusal) -> (StatusCode, Value) {
    (status(refusal), json!({ "error": error(refusal) }))
}

/// Formats a refusal as the value of `error`.
pub(super) fn error(refusal: &Refusal) -> Value {
    json!({
        "message": message(refusal),
        "type": kind(refusal),
        "param": refusal.param(),
        "code": code(refusal),
    })
}

/// Returns the message. `param` names only one of several invalid values, so then it has their paths.
fn message(refusal: &Refusal) -> String {
    match refusal.problems.len() {
        0 | 1 => refusal.message.clone(),
        _ => refusal.message_with_paths(),
    }
}

fn is_unknown_model(refusal: &Refusal) -> bool {
    refusal.problems.first().is_some_and(|problem| problem.kind == UNKNOWN_MODEL)
}

/// Returns the status, with 400 and 404 where the native API has 422 and 410.
pub(in crate::dialects) fn status(refusal: &Refusal) -> StatusCode {
    match refusal.code {
        Code::Invalid if is_unknown_model(refusal) => StatusCode::NOT_FOUND,
        Code::Invalid => StatusCode::BAD_REQUEST,
        Code::ResultExpired => StatusCode::NOT_FOUND,
        _ => refusal.status,
    }
}

fn kind(refusal: &Refusal) -> &'static str {
    match (refusal.code, status(refusal).as_u16()) {
        (Code::LimitReached(limited), _) => match limited {
            Limited::Requests => "requests",
            Limited::Tokens | Limited::TooLarge => "tokens",
            Limited::InFlight => "concurrent_requests",
            Limited::Quota => QUOTA,
        },
        (Code::QueueFull(_) | Code::TooManyFailures, _) => "requests",
        (Code::InvalidKey | Code::NotOperator, _) => "authentication_error",
        (_, 500..) => "server_error",
        _ => "invalid_request_error",
    }
}

fn code(refusal: &Refusal) -> Option<&'static str> {
    match refusal.code {
        Code::Invalid if is_unknown_model(refusal) => Some("model_not_found"),
        Code::Invalid => match refusal.problems.first()?.kind {
            "unsupported_parameter" => Some("unsupported_parameter"),
            "previous_response_not_found" => Some("previous_response_not_found"),
            "missing" => Some("missing_required_parameter"),
            _ => Some("invalid_value"),
        },
        Code::LimitReached(Limited::Quota) => Some(QUOTA),
        Code::QueueFull(_) | Code::LimitReached(_) => Some("rate_limit_exceeded"),
        Code::TaskFailed(ErrorType::InvalidRequest) => None,
        code => Some(code.as_str()),
    }
}
