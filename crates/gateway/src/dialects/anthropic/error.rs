//! Anthropic's error format: `{"type": "error", "error": {"type", "message"}}`.

use actix_web::http::StatusCode;
use serde_json::{Value, json};

use crate::dialects::openai::error::status;
use crate::refusal::Refusal;

/// Formats a refusal.
pub(super) fn shape(refusal: &Refusal) -> (StatusCode, Value) {
    (status(refusal), body(refusal))
}

/// Formats a refusal as a body, which is also the data of an event `error`.
pub(super) fn body(refusal: &Refusal) -> Value {
    json!({"type": "error", "error": {"type": kind(refusal), "message": refusal.message_with_paths()}})
}

fn kind(refusal: &Refusal) -> &'static str {
    match status(refusal).as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

#[cfg(test)]
mod tests {
    use protocol::{ErrorType, TaskError};

    use super::*;
    use crate::validate::FieldError;

    #[test]
    fn each_refusal_has_a_type_of_anthropic() {
        let failed = |kind| Refusal::failed(&TaskError::new(kind, "no"));
        for (refusal, expected_status, expected) in [
            (Refusal::invalid(vec![]), 400, "invalid_request_error"),
            (Refusal::unsupported_media_type("no"), 415, "invalid_request_error"),
            (Refusal::invalid_key(), 401, "authentication_error"),
            (Refusal::not_operator(), 403, "permission_error"),
            (Refusal::no_such_path(), 404, "not_found_error"),
            (Refusal::method_not_allowed("POST"), 405, "invalid_request_error"),
            (Refusal::body_too_large(1), 413, "request_too_large"),
            (Refusal::unavailable("down"), 503, "overloaded_error"),
            (Refusal::internal("bug"), 500, "api_error"),
            (failed(ErrorType::ContextLengthExceeded), 400, "invalid_request_error"),
            (failed(ErrorType::TimeLimitExceeded), 504, "timeout_error"),
            (failed(ErrorType::EngineError), 500, "api_error"),
            (failed(ErrorType::OutOfMemory), 503, "overloaded_error"),
        ] {
            let (status, body) = shape(&refusal);
            assert_eq!((status.as_u16(), &body["type"]), (expected_status, &json!("error")));
            assert_eq!(body["error"]["type"], expected, "{refusal}");
        }
    }

    #[test]
    fn each_problem_has_its_path() {
        let problem = |loc, message| FieldError { loc, message, kind: "value_error" };
        let refusal = Refusal::invalid(vec![
            problem(vec!["body".into(), "messages".into(), 0.into()], "no".to_owned()),
            problem(vec!["body".into()], "nor this".to_owned()),
        ]);
        assert_eq!(body(&refusal)["error"]["message"], "messages.0: no; nor this");
    }
}
