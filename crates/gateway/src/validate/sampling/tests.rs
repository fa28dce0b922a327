use serde_json::json;

use super::*;
use crate::validate::{FieldError, Loc};

/// Reads a body with these fields alone, with a maximum answer of 4096 tokens.
fn judge(body: &Value) -> Result<Sampled, Vec<FieldError>> {
    let mut fields = Fields::new(body, &known().collect::<Vec<_>>())?;
    let sampled = read(&mut fields, 4096);
    fields.finish(Some(sampled))
}

fn accepted(body: Value) -> Sampled {
    judge(&body).unwrap_or_else(|errors| panic!("{body}: {errors:?}"))
}

/// Returns the only problem of a body.
fn refused(body: Value) -> FieldError {
    let mut errors = judge(&body).expect_err(&body.to_string());
    assert_eq!(errors.len(), 1, "{body}: {errors:?}");
    errors.remove(0)
}

#[test]
fn sampling_fields_are_unset_by_default() {
    let sampling = Sampling::default();
    let expected = Sampled { max_tokens: 512, sampling, stop: vec![] };
    assert_eq!(accepted(json!({})), expected);
}

#[test]
fn explicit_defaults_differ_from_unset_fields() {
    for (name, value) in [
        ("temperature", json!(0.7)),
        ("top_p", json!(0.9)),
        ("top_k", json!(-1)),
        ("min_p", json!(0)),
        ("repetition_penalty", json!(1)),
    ] {
        let (said, unsaid) = (accepted(json!({name: value})), accepted(json!({name: null})));
        assert_eq!(unsaid, accepted(json!({})), "null is not given");
        assert!(unsaid.sampling.is_empty());
        assert!(said.sampling.get(name).is_some(), "{name}");
    }
}

/// The conventions of vLLM, llama.cpp and others.
#[test]
fn sentinel_values_mean_unlimited_or_random() {
    for all in [json!(0), json!(-1), json!(-1.0)] {
        let params = accepted(json!({"top_k": all}));
        assert_eq!(params.sampling.top_k, Some(0), "it was said");
    }
    assert_eq!(accepted(json!({"top_k": 1})).sampling.top_k, Some(1));
    for random in [json!(-1), json!(-1.0)] {
        assert_eq!(accepted(json!({"seed": random})).sampling.seed, None);
    }
    assert_eq!(accepted(json!({"seed": 0})).sampling.seed, Some(0));
    for longest in [json!(-1), json!(-1.0)] {
        assert_eq!(accepted(json!({"max_tokens": longest})).max_tokens, 4096);
    }
    // With logprobs, MAX_LOGPROBS is the limit: 16384 / 21.
    let body = json!({"max_tokens": -1, "logprobs": true, "top_logprobs": 20});
    assert_eq!(accepted(body).max_tokens, 780);
    assert_eq!(accepted(json!({"max_tokens": -1, "logprobs": true})).max_tokens, 4096);
    for (name, value, kind) in [
        ("top_k", json!(-2), "greater_than_equal"),
        ("top_k", json!("-1"), "int_type"),
        ("seed", json!(-1.5), "int_from_float"),
        ("seed", json!(-2), "greater_than_equal"),
        ("max_tokens", json!(0), "greater_than_equal"),
        ("max_tokens", json!(-2), "greater_than_equal"),
    ] {
        let error = refused(json!({name: value}));
        assert_eq!((error.kind, &error.loc[1]), (kind, &name.into()), "{name} {value}");
    }
}

#[test]
fn every_field_is_parsed() {
    let body = json!({
        "min_p": 0.05, "repetition_penalty": 1.25, "presence_penalty": -2, "frequency_penalty": 0.5,
        "logit_bias": {"0": 100, "151643": -0.5}, "logprobs": true, "top_logprobs": 3,
        "temperature": 0, "top_p": 1,
    });
    let expected = Sampling {
        temperature: Some(0.0),
        top_p: Some(1.0),
        min_p: Some(0.05),
        repetition_penalty: Some(1.25),
        presence_penalty: Some(-2.0),
        frequency_penalty: Some(0.5),
        logit_bias: BTreeMap::from([(0, 100.0), (151_643, -0.5)]),
        logprobs: Some(3),
        ..Sampling::default()
    };
    assert_eq!(accepted(body).sampling, expected);
}

#[test]
fn numbers_out_of_range_or_of_another_type_are_refused() {
    for (name, value, kind) in [
        ("min_p", json!(-0.01), "greater_than_equal"),
        ("min_p", json!(1.01), "less_than_equal"),
        ("min_p", json!("0.1"), "float_type"),
        ("repetition_penalty", json!(0), "greater_than"),
        ("repetition_penalty", json!(2.1), "less_than_equal"),
        ("repetition_penalty", json!(true), "float_type"),
        ("presence_penalty", json!(-2.1), "greater_than_equal"),
        ("presence_penalty", json!(2.1), "less_than_equal"),
        ("frequency_penalty", json!(-2.1), "greater_than_equal"),
        ("frequency_penalty", json!([1]), "float_type"),
        ("logprobs", json!(5), "bool_type"),
    ] {
        let error = refused(json!({name: value}));
        assert_eq!((error.kind, &error.loc[1]), (kind, &name.into()), "{name} {value}");
    }
    assert!(
        accepted(json!({"repetition_penalty": 1e-300})).sampling.repetition_penalty > Some(0.0)
    );
}

#[test]
fn logit_bias_maps_token_ids_to_numbers() {
    for (bias, kind, loc) in [
        (json!([1]), "dict_type", None),
        (json!("x"), "dict_type", None),
        (json!({"x": 1}), "int_parsing", Some("x")),
        (json!({"-1": 1}), "int_parsing", Some("-1")),
        (json!({"01": 1}), "int_parsing", Some("01")),
        (json!({"1.0": 1}), "int_parsing", Some("1.0")),
        (json!({"4294967296": 1}), "int_parsing", Some("4294967296")),
        (json!({"1": "1"}), "float_type", Some("1")),
        (json!({"1": null}), "float_type", Some("1")),
        (json!({"1": 100.5}), "less_than_equal", Some("1")),
        (json!({"1": -101}), "greater_than_equal", Some("1")),
    ] {
        let error = refused(json!({"logit_bias": bias}));
        assert_eq!(error.kind, kind, "{bias}");
        assert_eq!(error.loc.get(2), loc.map(Loc::from).as_ref(), "{bias}");
    }
    let many = |n: usize| -> Value {
        json!({"logit_bias": (0..n).map(|n| (n.to_string(), json!(1))).collect::<serde_json::Map<_, _>>()})
    };
    assert_eq!(accepted(many(1024)).sampling.logit_bias.len(), 1024);
    assert_eq!(refused(many(1025)).kind, "too_long");
    let wrong: serde_json::Map<_, _> = (0..500).map(|n| (format!("x{n}"), json!(1))).collect();
    let errors = judge(&json!({"logit_bias": wrong})).unwrap_err();
    assert_eq!(errors.len(), 17);
    assert!(errors[16].message.starts_with("484 more"), "{}", errors[16].message);
}

#[test]
fn logprobs_are_bounded_per_answer() {
    assert_eq!(accepted(json!({"logprobs": true})).sampling.logprobs, Some(0));
    assert_eq!(accepted(json!({"logprobs": false})).sampling.logprobs, None);
    assert_eq!(accepted(json!({"top_logprobs": 0})).sampling.logprobs, None);
    assert_eq!(accepted(json!({"logprobs": true, "top_logprobs": 20})).sampling.logprobs, Some(20));
    let error = refused(json!({"top_logprobs": 5}));
    assert_eq!((error.kind, &error.loc[1]), ("value_error", &"top_logprobs".into()));
    let error = refused(json!({"logprobs": true, "top_logprobs": 21}));
    assert_eq!((error.kind, &error.loc[1]), ("less_than_equal", &"top_logprobs".into()));
    // 780 * 21 = 16380
    let body = |tokens: u32| json!({"logprobs": true, "top_logprobs": 20, "max_tokens": tokens});
    accepted(body(780));
    let error = refused(body(781));
    assert_eq!((error.kind, &error.loc[1]), ("value_error", &"logprobs".into()));
    assert!(error.message.contains("set max_tokens to at most 780"), "{}", error.message);
    accepted(json!({"logprobs": true, "top_logprobs": 3, "max_tokens": 4096}));
}
