//! Tests valid and invalid values of the queueing fields.

use protocol::ModelId;
use serde_json::json;

use super::*;
use crate::validate::{FieldError, generate};

const NOW: Timestamp = Timestamp::from_millis(1_763_739_045_123); // 2025-11-21T15:30:45.123Z

fn judge(fields: Value) -> Result<Queueing, Vec<FieldError>> {
    let mut body = json!({"prompt": "Hello"});
    body.as_object_mut().unwrap().append(fields.clone().as_object_mut().unwrap());
    let limits = Limits {
        max_prompt_bytes: 100,
        max_new_tokens: 2048,
        default_model: &ModelId::new("demo"),
        other_models: &[],
        max_time_limit_s: 120,
        max_result_ttl_s: 3600,
        max_attempts: 3,
        webhooks: webhooks::Guard { allow_private: false },
        images: Default::default(),
        now: NOW,
    };
    generate(&body, &limits).map(|request| request.queueing)
}

fn accepted(fields: Value) -> Queueing {
    judge(fields).unwrap()
}

#[test]
fn queueing_defaults_are_now_and_the_operators_limits() {
    assert_eq!(
        accepted(json!({"priority": null, "delay_s": 0})),
        Queueing {
            lane: None,
            start: Start::Now,
            expires_in: None,
            metadata: BTreeMap::new(),
            result_ttl_s: 3600,
            time_limit_s: 120,
            max_attempts: 3,
            retry_backoff_s: None,
            step: None,
        }
    );
}

#[test]
fn every_queueing_field_is_parsed() {
    assert_eq!(
        accepted(json!({
            "priority": "batch", "delay_s": 1.5, "expires_in_s": 60, "metadata": {"a": "", "é": "1"},
            "result_ttl_s": 1, "time_limit_s": 119, "max_attempts": 2, "retry_backoff_s": 0,
        })),
        Queueing {
            lane: Some(Lane::Batch),
            start: Start::After(Duration::from_millis(1500)),
            expires_in: Some(Duration::from_secs(60)),
            metadata: [("a".into(), String::new()), ("é".into(), "1".into())].into(),
            result_ttl_s: 1,
            time_limit_s: 119,
            max_attempts: 2,
            retry_backoff_s: Some(0),
            step: None,
        }
    );
}

#[test]
fn run_at_is_rfc_3339_text_or_unix_seconds() {
    for (given, millis) in [
        (json!("2025-11-21T15:30:46Z"), 1_763_739_046_000),
        (json!("2025-11-21T16:30:46.5+01:00"), 1_763_739_046_500),
        (json!(1_763_739_046), 1_763_739_046_000),
        (json!(1_763_739_046.25), 1_763_739_046_250),
        (json!(0), 0),
        (json!(-5), 0),
    ] {
        let start = accepted(json!({ "run_at": given })).start;
        assert_eq!(start, Start::At(Timestamp::from_millis(millis)), "{given}");
    }
}

#[test]
fn invalid_queueing_fields_are_refused_with_the_field_name() {
    let many: serde_json::Map<_, _> = (0..17).map(|n| (n.to_string(), json!("x"))).collect();
    for (fields, name, kind) in [
        (json!({"priority": "urgent"}), "priority", "enum"),
        (json!({"priority": 1}), "priority", "string_type"),
        (json!({"delay_s": -1}), "delay_s", "greater_than_equal"),
        (json!({"delay_s": 2_592_001}), "delay_s", "less_than_equal"),
        (json!({"delay_s": "5"}), "delay_s", "float_type"),
        (json!({"run_at": "tomorrow"}), "run_at", "datetime_parsing"),
        (json!({"run_at": "2025-11-21 15:30"}), "run_at", "datetime_parsing"),
        (json!({"run_at": true}), "run_at", "datetime_type"),
        (json!({"run_at": 1_763_739_045_123_u64}), "run_at", "less_than_equal"),
        (json!({"run_at": "2026-11-21T15:30:46Z"}), "run_at", "less_than_equal"),
        (json!({"run_at": 1_763_739_046, "delay_s": 5}), "run_at", "value_error"),
        (json!({"expires_in_s": 0}), "expires_in_s", "greater_than_equal"),
        (json!({"expires_in_s": 1.5}), "expires_in_s", "int_from_float"),
        (json!({"expires_in_s": 5, "delay_s": 5}), "expires_in_s", "greater_than"),
        (json!({"expires_in_s": 5, "run_at": 1_763_739_051}), "expires_in_s", "greater_than"),
        (json!({"metadata": []}), "metadata", "dict_type"),
        (json!({"metadata": {"a": 1}}), "metadata", "string_type"),
        (json!({"metadata": {"": "x"}}), "metadata", "string_too_long"),
        (json!({"metadata": {"x".repeat(65): "x"}}), "metadata", "string_too_long"),
        (json!({"metadata": {"a": "x".repeat(513)}}), "metadata", "string_too_long"),
        (json!({"metadata": many}), "metadata", "too_long"),
        (json!({"result_ttl_s": 3601}), "result_ttl_s", "less_than_equal"),
        (json!({"result_ttl_s": 0}), "result_ttl_s", "greater_than_equal"),
        (json!({"time_limit_s": 121}), "time_limit_s", "less_than_equal"),
        (json!({"max_attempts": 0}), "max_attempts", "greater_than_equal"),
        (json!({"max_attempts": 4}), "max_attempts", "less_than_equal"),
        (json!({"max_attempts": 1.5}), "max_attempts", "int_from_float"),
        (json!({"retry_backoff_s": -1}), "retry_backoff_s", "greater_than_equal"),
        (json!({"retry_backoff_s": 3601}), "retry_backoff_s", "less_than_equal"),
        (json!({"retry_backoff_s": "5"}), "retry_backoff_s", "int_type"),
    ] {
        let errors = judge(fields.clone()).unwrap_err();
        assert_eq!(errors.len(), 1, "{fields}: {errors:?}");
        assert_eq!(errors[0].loc, ["body".into(), name.into()], "{fields}");
        assert_eq!(errors[0].kind, kind, "{fields}");
    }
}
