//! Tests valid and invalid values of all fields of `POST /generate`, without HTTP.

use std::sync::LazyLock;

use protocol::{Sampling, Timestamp};
use serde_json::json;

use super::*;
use crate::validate::Loc;

static DEMO: LazyLock<ModelId> = LazyLock::new(|| ModelId::new("demo"));
static OTHER_MODELS: LazyLock<[ModelId; 1]> = LazyLock::new(|| [ModelId::new("other")]);

fn limits() -> Limits<'static> {
    Limits {
        max_prompt_bytes: 100,
        max_new_tokens: 2048,
        default_model: &DEMO,
        other_models: &*OTHER_MODELS,
        max_time_limit_s: 120,
        max_result_ttl_s: 3600,
        max_attempts: 3,
        webhooks: webhooks::Guard { allow_private: false },
        images: crate::order::ImageRules::default(),
        now: Timestamp::from_millis(0),
    }
}

fn accepted(body: Value) -> Order {
    generate(&body, &limits()).unwrap()
}

/// Returns the only problem of a body.
fn refused(body: Value) -> FieldError {
    let mut errors = generate(&body, &limits()).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

/// Returns all fields except those of queueing.
fn known() -> impl Iterator<Item = &'static str> {
    KNOWN.into_iter().chain(sampling::known()).chain(constraint::KNOWN).chain(chat::KNOWN)
}

/// Returns a valid body with one more field.
fn with(name: &str, value: Value) -> Value {
    json!({"prompt": "Hello", name: value})
}

#[test]
fn prompt_is_the_only_required_field() {
    let request = accepted(json!({"prompt": "Hello"}));
    assert_eq!(request.prompt, Prompt::user("Hello"));
    assert_eq!((request.sampling, request.max_tokens), (Sampling::default(), 512));
    assert_eq!((request.model.as_str(), request.user_id), ("demo", None));
}

#[test]
fn every_field_is_parsed() {
    let request = accepted(json!({
        "prompt": "Hello", "max_tokens": 2048, "temperature": 0, "top_p": 1, "top_k": 1,
        "seed": u64::MAX, "stop": ["a", "b"], "model": "other", "raw": true, "user_id": "u",
    }));
    assert_eq!(request.prompt, Prompt::Raw("Hello".into()));
    assert_eq!(
        request.sampling,
        Sampling {
            temperature: Some(0.0),
            top_p: Some(1.0),
            top_k: Some(1),
            seed: Some(u64::MAX),
            ..Sampling::default()
        }
    );
    assert_eq!((request.max_tokens, request.stop), (2048, vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!((request.model.as_str(), request.user_id.as_deref()), ("other", Some("u")));
}

#[test]
fn null_means_not_given() {
    let nulls: serde_json::Map<_, _> = known().map(|name| (name.to_owned(), Value::Null)).collect();
    let mut body = Value::Object(nulls);
    assert_eq!(refused(body.clone()).kind, "missing");
    body["prompt"] = json!("Hello");
    assert_eq!(accepted(body), accepted(json!({"prompt": "Hello"})));
}

#[test]
fn default_of_max_tokens_is_capped() {
    let low = Limits { max_new_tokens: 64, ..limits() };
    assert_eq!(generate(&json!({"prompt": "x"}), &low).unwrap().max_tokens, 64);
}

#[test]
fn bodies_that_are_not_objects_are_refused() {
    for (body, got) in [
        (json!([]), "an array"),
        (json!("x"), "a string"),
        (json!(3), "an integer"),
        (json!(null), "null"),
        (json!(true), "a boolean"),
    ] {
        let error = refused(body);
        assert_eq!(error.message, format!("expected a JSON object, got {got}"));
        assert_eq!(error.loc, ["body".into()]);
    }
}

#[test]
fn invalid_prompts_are_refused() {
    assert_eq!(refused(json!({})).kind, "missing");
    assert_eq!(refused(json!({"prompt": 5})).message, "expected a string, got an integer");
    assert_eq!(refused(json!({"prompt": ["x"]})).kind, "string_type");
    assert!(refused(json!({"prompt": ""})).message.contains("is empty"));
    assert!(refused(json!({"prompt": " \n\u{2003}"})).message.contains("only whitespace"));
    let long = refused(json!({"prompt": "é".repeat(51)}));
    assert_eq!(long.message, "must have at most 100 bytes of UTF-8, has 102");
    assert_eq!(long.kind, "string_too_long");
    accepted(json!({"prompt": "x".repeat(100)}));
}

#[test]
fn integers_out_of_range_or_of_another_type_are_refused() {
    for (value, kind) in [
        (json!(0), "greater_than_equal"),
        (json!(-2), "greater_than_equal"),
        (json!(2049), "less_than_equal"),
        (json!(1e300), "less_than_equal"),
        (json!(u64::MAX), "less_than_equal"),
        (json!(1.5), "int_from_float"),
        (json!("5"), "int_type"),
        (json!(true), "int_type"),
        (json!([5]), "int_type"),
        (json!({}), "int_type"),
    ] {
        let error = refused(with("max_tokens", value.clone()));
        assert_eq!(error.kind, kind, "{value}");
        assert_eq!(error.loc, ["body".into(), "max_tokens".into()]);
        assert!(error.message.contains("from 1 to 2048"), "{}", error.message);
    }
    assert_eq!(accepted(with("max_tokens", json!(512.0))).max_tokens, 512);
    assert_eq!(accepted(with("max_tokens", json!(1e3))).max_tokens, 1000);
    assert_eq!(refused(with("top_k", json!(-2))).kind, "greater_than_equal");
    assert_eq!(refused(with("top_k", json!(-0.5))).kind, "int_from_float");
    assert_eq!(refused(with("top_k", json!(u64::MAX))).kind, "less_than_equal");
    assert_eq!(refused(with("seed", json!(-2))).kind, "greater_than_equal");
    assert_eq!(refused(with("seed", json!(1e20))).kind, "less_than_equal");
    assert_eq!(accepted(with("seed", json!(0))).sampling.seed, Some(0));
}

#[test]
fn numbers_out_of_range_or_of_another_type_are_refused() {
    for (name, value, kind) in [
        ("temperature", json!(-0.1), "greater_than_equal"),
        ("temperature", json!(2.000_000_000_1), "less_than_equal"),
        ("temperature", json!("0.5"), "float_type"),
        ("temperature", json!(false), "float_type"),
        ("top_p", json!(0), "greater_than"),
        ("top_p", json!(-0.0), "greater_than"),
        ("top_p", json!(1.01), "less_than_equal"),
        ("top_p", json!([0.5]), "float_type"),
    ] {
        assert_eq!(refused(with(name, value.clone())).kind, kind, "{name} {value}");
    }
    assert_eq!(accepted(with("temperature", json!(2))).sampling.temperature, Some(2.0));
    assert!(accepted(with("top_p", json!(1e-300))).sampling.top_p > Some(0.0));
}

#[test]
fn stop_is_a_string_or_a_list_of_strings() {
    assert_eq!(accepted(with("stop", json!("END"))).stop, ["END"]);
    assert_eq!(accepted(with("stop", json!([]))).stop, Vec::<String>::new());
    assert_eq!(accepted(with("stop", json!(vec!["x"; 16]))).stop.len(), 16);
    assert_eq!(refused(with("stop", json!(vec!["x"; 17]))).kind, "too_long");
    assert_eq!(refused(with("stop", json!(7))).kind, "list_type");
    assert_eq!(refused(with("stop", json!(""))).kind, "string_too_short");
    let errors = generate(&with("stop", json!(["x", "", 3, "y".repeat(257)])), &limits());
    let found: Vec<_> =
        errors.unwrap_err().into_iter().map(|e| (e.loc[2].clone(), e.kind)).collect();
    assert_eq!(
        found,
        [
            (Loc::Index(1), "string_too_short"),
            (Loc::Index(2), "string_type"),
            (Loc::Index(3), "string_too_long"),
        ]
    );
}

#[test]
fn raw_is_a_boolean() {
    for value in [json!("true"), json!(1), json!({})] {
        assert_eq!(refused(with("raw", value)).kind, "bool_type");
    }
}

#[test]
fn user_id_is_bounded() {
    accepted(with("user_id", json!("é".repeat(256))));
    let error = refused(with("user_id", json!("é".repeat(257))));
    assert_eq!(error.message, "must have at most 256 characters, has 257");
    assert_eq!(refused(with("user_id", json!(7))).kind, "string_type");
}

#[test]
fn unknown_model_error_lists_the_known_models() {
    let error = refused(with("model", json!("gpt-4")));
    assert_eq!(error.message, "unknown model 'gpt-4': no worker serves it. Available: demo, other");
    assert_eq!(refused(with("model", json!(4))).kind, "string_type");
}

#[test]
fn unknown_fields_are_named_with_a_hint() {
    let error = refused(with("max_token", json!(5)));
    assert_eq!(error.kind, "extra_forbidden");
    assert_eq!(error.loc, ["body".into(), "max_token".into()]);
    assert!(error.message.contains("did you mean 'max_tokens'?"), "{}", error.message);
    let error = refused(with("webhook", json!("https://example.org")));
    assert!(error.message.contains("did you mean 'webhook_url'?"), "{}", error.message);
    assert!(!refused(with("stream", json!(5))).message.contains("did you mean"));
    let evil = refused(with(&"\n".repeat(500), json!(1)));
    assert!(evil.message.len() < 700 && !evil.message.contains('\n'), "{}", evil.message);
}

#[test]
fn many_unknown_fields_get_a_short_error() {
    let mut body = json!({"prompt": "x"});
    for n in 0..5000 {
        body[format!("field{n}")] = json!(n);
    }
    let errors = generate(&body, &limits()).unwrap_err();
    assert_eq!(errors.len(), 17);
    assert!(errors[16].message.starts_with("4984 more unknown fields"));
}

#[test]
fn all_problems_are_reported_at_once() {
    let body = json!({
        "promt": "x", "prompt": "x", "messages": 1, "max_tokens": 0, "temperature": 3, "top_p": 0, "top_k": "many",
        "seed": -2, "stop": 1, "model": "none", "raw": "yes", "user_id": 1,
        "webhook_url": 1, "min_p": 2, "repetition_penalty": 0, "presence_penalty": -3,
        "frequency_penalty": "0", "logit_bias": [], "logprobs": 1, "top_logprobs": 21,
        "response_format": 1, "regex": 1, "choice": 1, "tools": 1, "tool_choice": 1,
        "enable_thinking": 1, "images": 1, "videos": 1, "min_pixels": 0, "max_pixels": 0,
    });
    let mut names: Vec<String> = generate(&body, &limits())
        .unwrap_err()
        .iter()
        .map(|error| serde_json::to_value(&error.loc[1]).unwrap().as_str().unwrap().to_owned())
        .collect();
    names.sort();
    let mut expected: Vec<&str> = known().collect();
    expected.push("promt");
    expected.sort_unstable();
    assert_eq!(names, expected);
}

#[test]
fn errors_have_the_format_of_fastapi() {
    let error = refused(with("max_tokens", json!("5")));
    assert_eq!(
        serde_json::to_value(&error).unwrap(),
        json!({
            "loc": ["body", "max_tokens"],
            "msg": "expected an integer from 1 to 2048, got a string",
            "type": "int_type",
        })
    );
}

#[test]
fn skills_have_no_fields_of_these_names() {
    for name in known() {
        let file = format!(
            "name = \"a\"\ntitle = \"A\"\ndescription = \"A.\"\n[prompt]\nuser = \"x\"\n[fields.{name}]\n\
             type = \"boolean\"\ndescription = \"A.\"\ndefault = true\n"
        );
        let error = skills::Skill::parse(&file).expect_err(name);
        assert!(
            error.message.contains("all requests have a field of this name"),
            "{name}: {error}"
        );
    }
}
