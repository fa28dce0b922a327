//! Tests refusals.

use queue::Bound;

use super::*;
use crate::validate::Loc;

fn header(refusal: &Refusal, name: &str) -> Option<String> {
    let response = refusal.error_response();
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
}

fn full(bound: Bound, retry_after_s: u32) -> Refusal {
    let model = protocol::ModelId::new("demo");
    BrokerError::QueueFull { bound, model, held: 7, limit: 7, retry_after_s }.into()
}

#[test]
fn retryable_errors_set_retry_after_and_others_set_x_should_retry() {
    let full = full(Bound::Model, 900);
    assert_eq!(header(&full, "retry-after").as_deref(), Some("120"));
    assert_eq!(header(&full, "x-should-retry"), None);
    let down = Refusal::unavailable("connection refused (10.0.0.7)");
    assert_eq!(header(&down, "retry-after").as_deref(), Some("5"));
    assert!(!down.message.contains("10.0.0.7"), "reasons stay inside");
    let record = protocol::RecordError::Version { found: 2 };
    for refusal in [
        Refusal::invalid_key(),
        Refusal::no_such_path(),
        Refusal::invalid(vec![]),
        Refusal::body_too_large(1),
        BrokerError::Record(record).into(),
        Refusal::http(StatusCode::BAD_REQUEST),
    ] {
        let found = header(&refusal, "x-should-retry");
        assert_eq!(found.as_deref(), Some("false"), "{refusal}");
    }
    for refusal in [Refusal::body_timeout(), Refusal::internal("bug")] {
        assert_eq!(header(&refusal, "x-should-retry"), None, "{refusal}");
    }
}

#[test]
fn each_queue_bound_has_its_error_code() {
    for (bound, expected) in [
        (Bound::Model, "queue_full"),
        (Bound::Tenant, "tenant_queue_full"),
        (Bound::Bytes, "queue_memory_full"),
    ] {
        assert_eq!(full(bound, 1).code.as_str(), expected);
    }
}

#[test]
fn broker_errors_map_to_http_statuses() {
    let status = |error: BrokerError| Refusal::from(error).status.as_u16();
    assert_eq!(status(BrokerError::Unavailable { reason: "x".into() }), 503);
    assert_eq!(status(BrokerError::Corrupt("x".into())), 500);
    let record = protocol::RecordError::Version { found: 9 };
    let refusal = Refusal::from(BrokerError::Record(record));
    assert_eq!(refusal.status.as_u16(), 500);
    assert!(refusal.message.contains("version 9"));
}

#[test]
fn the_first_problem_names_the_parameter() {
    let at = |loc: Vec<Loc>| {
        let problem = FieldError { loc, message: "no".into(), kind: "value_error" };
        Refusal::invalid(vec![problem]).param()
    };
    assert_eq!(at(vec!["body".into()]), None);
    let loc = vec!["body".into(), "messages".into(), 0.into(), "content".into()];
    assert_eq!(at(loc).as_deref(), Some("messages.0.content"));
    assert_eq!(Refusal::invalid_key().param(), None);
}
