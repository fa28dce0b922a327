use std::time::Instant;

use super::*;
use crate::limits::{MAX_CHOICES, MAX_REGEX_BYTES};
use crate::{Grammars, Token};

fn schema(schema: Value) -> Constraint {
    Constraint::JsonSchema(schema)
}

fn calls(functions: &[(&str, Option<Value>)]) -> Constraint {
    let function = |(name, parameters): &(&str, Option<Value>)| Tool {
        parameters: parameters.clone(),
        ..Tool::named(*name)
    };
    Constraint::ToolCall(functions.iter().map(function).collect())
}

fn refusal(constraint: &Constraint) -> String {
    check(constraint).unwrap_err().to_string()
}

#[test]
fn supported_constraints_compile() {
    for constraint in [
        Constraint::JsonObject,
        schema(json!({})),
        schema(json!({"type": "object", "properties": {"a": {"type": "integer", "minimum": 3}}})),
        schema(json!({"$ref": "#/$defs/node", "$defs": {"node": {
            "type": "object",
            "properties": {"next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}},
        }}})),
        Constraint::Regex(r"^[a-z]+/\d{2,4}$".into()),
        Constraint::Regex("(yes|no)?".into()),
        Constraint::Choice(vec!["a".into(), "a.b|c/\n\"\\".into()]),
        calls(&[
            ("now", None),
            (
                "weather",
                Some(json!({
                    "type": "object", "properties": {"city": {"$ref": "#/$defs/city"}},
                    "$defs": {"city": {"type": "string"}},
                })),
            ),
        ]),
        Constraint::AtMostOneCall,
    ] {
        assert_eq!(check(&constraint), Ok(vec![]), "{constraint:?}");
    }
}

#[test]
fn unsupported_constraints_are_refused_with_the_reason() {
    for (constraint, reason) in [
        (schema(json!(true)), "must be a JSON object"),
        (schema(json!({"type": "strin"})), "strin"),
        (schema(json!({"type": "object", "if": {}})), "if"),
        (schema(json!({"$ref": "https://example.org/x.json"})), "example.org"),
        (schema(json!({"$ref": "#/$defs/gone"})), "gone"),
        (schema(json!({"type": "integer", "minimum": 3, "maximum": 2})), "minimum"),
        (schema(json!({"x": "y".repeat(70_000)})), "70008 bytes, allowed are 65536"),
        (Constraint::Regex("a(b".into()), "regex"),
        (Constraint::Regex("(?=a)b".into()), "regex"),
        (Constraint::Regex(String::new()), "empty"),
        (Constraint::Regex("a".repeat(MAX_REGEX_BYTES + 1)), "4097 bytes, allowed are 4096"),
        (Constraint::Choice(vec![]), "1 to 256 texts"),
        (Constraint::Choice(vec!["a".into(); MAX_CHOICES + 1]), "this one 257"),
        (Constraint::Choice(vec!["a".into(), String::new()]), "empty text"),
        (Constraint::Choice(vec!["a".repeat(1025)]), "1025"),
        (calls(&[]), "no function"),
        (calls(&[("f", Some(json!([])))]), "object"),
        (calls(&[("f", Some(json!({"type": "poem"})))]), "poem"),
    ] {
        let refusal = refusal(&constraint);
        assert!(refusal.contains(reason), "{refusal:?} does not say {reason:?}");
        assert!(refusal.len() < 600 && !refusal.contains('\n'), "{refusal}");
    }
}

#[test]
fn unknown_formats_produce_a_warning_and_no_constraint() {
    for name in ["password", "binary", "uri-reference", "int64", "poem"] {
        let one = json!({"type": "string", "format": name});
        let twice = json!({"type": "object", "properties": {"a": one, "b": one}});
        let parameters = json!({"type": "object", "properties": {"b": one}});
        for (constraint, at) in [
            (schema(twice), "/properties/a/format"),
            (calls(&[("f", Some(parameters))]), "/properties/b/format"),
        ] {
            let warnings = check(&constraint).unwrap();
            assert_eq!(warnings.len(), 1, "{warnings:?}");
            assert!(warnings[0].contains(name) && warnings[0].contains(at), "{warnings:?}");
        }
    }
    for name in ["date-time", "uuid", "uri"] {
        assert_eq!(check(&schema(json!({"type": "string", "format": name}))), Ok(vec![]), "{name}");
    }
}

#[test]
fn adversarial_constraints_are_refused_fast_or_compile_cheaply() {
    let mut nested = json!({"type": "string"});
    for _ in 0..100 {
        nested =
            json!({"allOf": [{"anyOf": [nested.clone(), {"type": "integer"}]}, {"minLength": 1}]});
    }
    let product: Vec<Value> = (0..12)
        .map(|n| json!({"anyOf": [{"minimum": n}, {"maximum": 100 + n}, {"multipleOf": n + 1}]}))
        .collect();
    let wide: serde_json::Map<String, Value> =
        (0..1_500).map(|n| (format!("p{n}"), json!({"type": "string"}))).collect();
    for (name, constraint) in [
        ("itself", schema(json!({"allOf": [{"$ref": "#"}]}))),
        ("nested unions", schema(nested)),
        ("product of unions", schema(json!({"allOf": product}))),
        ("many optional properties", schema(json!({"type": "object", "properties": wide}))),
        ("long array", schema(json!({"type": "array", "minItems": 1_000_000, "items": {}}))),
        ("long string", schema(json!({"type": "string", "minLength": 1_000_000_000}))),
        ("counting", Constraint::Regex("((a{1,999}b{1,999}){1,999}){1,999}".into())),
        ("look back", Constraint::Regex("(a|b)*a(a|b){900}".into())),
        ("pattern", schema(json!({"type": "string", "pattern": "(x+x+)+y".repeat(200)}))),
    ] {
        let begin = Instant::now();
        let outcome = check(&constraint);
        let took = begin.elapsed();
        println!("{name}: {took:?} {outcome:?}");
        assert!(took.as_secs() < 5, "{name} took {took:?}: {outcome:?}");
    }
}

/// Whether a constraint allows a text, byte by byte, and whether it then allows more.
fn allows(constraint: &Constraint, text: &str) -> Option<bool> {
    let bytes: Vec<u8> = (0..=255).collect();
    let tokens = bytes.chunks(1).map(Token::Bytes).chain([Token::Hidden]);
    let mut matcher = Grammars::new(tokens, &[256]).unwrap().begin(constraint).unwrap();
    for byte in text.bytes() {
        if matcher.is_complete() || !matcher.mask().unwrap().contains(byte.into()) {
            return None;
        }
        matcher.accept(byte.into()).unwrap();
    }
    if matcher.is_complete() {
        return Some(false);
    }
    let mask = matcher.mask().unwrap();
    mask.contains(256).then(|| (0..256).any(|byte| mask.contains(byte)))
}

#[test]
fn at_most_one_call_is_allowed_and_ends_the_answer() {
    let one = Constraint::AtMostOneCall;
    for text in ["", "é <tool> </tool_call> <tool_cal", "<think>\n?</think>\n\nYes."] {
        assert_eq!(allows(&one, text), Some(true), "{text}");
    }
    let call =
        "I ask.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"<\"}}\n</tool_call>";
    assert_eq!(allows(&one, call), Some(false));
    assert_eq!(allows(&one, "<tool_call>no JSON</tool_call>"), Some(false));
    for text in ["<tool_call>{}", "<tool_call></tool_call>.", "<tool_call></tool_call><tool_call>"]
    {
        assert_eq!(allows(&one, text), None, "{text}");
    }
}
