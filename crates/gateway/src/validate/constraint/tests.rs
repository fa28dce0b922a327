use protocol::{AnswerForm, Constraint, ModelId, Timestamp, ToolChoice};
use serde_json::{Value, json};
use webhooks::Guard;

use super::keepable;
use crate::validate::{Limits, Loc, generate};

/// Returns the form that a body with these fields requests, or the field and message of its
/// problem.
fn form(mut fields: Value) -> Result<AnswerForm, (String, String)> {
    let model = ModelId::new("demo");
    let limits = Limits {
        max_prompt_bytes: 1 << 10,
        max_new_tokens: 100,
        default_model: &model,
        other_models: &[],
        max_time_limit_s: 120,
        max_result_ttl_s: 3600,
        max_attempts: 3,
        webhooks: Guard { allow_private: false },
        images: Default::default(),
        now: Timestamp::from_millis(0),
    };
    fields["prompt"] = json!("x");
    generate(&fields, &limits).map(|request| request.form).map_err(|errors| {
        let field = serde_json::to_value(&errors[0].loc[1]).unwrap();
        (field.as_str().unwrap().to_owned(), errors[0].message.clone())
    })
}

fn tool(name: &str) -> Value {
    json!({"type": "function", "function": {"name": name, "parameters": {"type": "object"}}})
}

#[test]
fn each_answer_form_is_parsed() {
    let schema = json!({"type": "object"});
    let named = json!({"name": "a", "strict": true, "schema": schema});
    for (fields, expected) in [
        (json!({}), None),
        (json!({"response_format": {"type": "text"}, "tools": null}), None),
        (json!({"response_format": {"type": "json_object"}}), Some(Constraint::JsonObject)),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": named}}),
            Some(Constraint::JsonSchema(schema)),
        ),
        (json!({"regex": "a+"}), Some(Constraint::Regex("a+".into()))),
        (json!({"choice": ["a", "b"]}), Some(Constraint::Choice(vec!["a".into(), "b".into()]))),
    ] {
        let form = form(fields).unwrap();
        assert_eq!(form.is_plain(), expected.is_none());
        assert_eq!(form.constraint, expected);
        assert_eq!(keepable(&form), Ok(vec![]));
    }
    let tools = json!([tool("f"), tool("g")]);
    for (choice, expected, offered) in [
        (json!(null), ToolChoice::Auto, 2),
        (json!("auto"), ToolChoice::Auto, 2),
        (json!("none"), ToolChoice::None, 0),
        (json!("required"), ToolChoice::Required, 2),
        (tool("g"), ToolChoice::Function("g".into()), 2),
    ] {
        let form = form(json!({"tools": tools, "tool_choice": choice})).unwrap();
        assert_eq!((form.tool_choice.clone(), form.tools.len()), (expected, offered));
        assert_eq!(keepable(&form), Ok(vec![]));
    }
    for (fields, split) in [
        (json!({"tools": tools}), true),
        (json!({"tools": tools, "tool_choice": "none"}), true),
        (json!({"tools": [], "tool_choice": "none"}), false),
        (json!({"tool_choice": "none"}), false),
        (json!({"enable_thinking": false}), true),
    ] {
        assert_eq!(form(fields.clone()).unwrap().split, split, "{fields}");
    }
    let both = form(json!({"enable_thinking": true, "regex": "a"})).unwrap();
    assert!(
        both.constraint.is_some() && both.enable_thinking == Some(true),
        "first one, then the other"
    );
    assert_eq!(form(json!({"enable_thinking": false})).unwrap().enable_thinking, Some(false));
}

#[test]
fn invalid_form_fields_are_refused_with_the_field_name() {
    let format = |value: Value| json!({ "response_format": value });
    let schema = |value: Value| format(json!({"type": "json_schema", "json_schema": value}));
    for (fields, field, reason) in [
        (format(json!("json")), "response_format", "json_schema"),
        (format(json!({"type": "xml"})), "response_format", "json_object"),
        (format(json!({"type": "json_object", "schema": {}})), "response_format", "nothing beside"),
        (schema(json!({"name": "a"})), "response_format", "schema is missing"),
        (schema(json!({"schema": [], "name": "a"})), "response_format", "an array"),
        (schema(json!({"shema": {}})), "response_format", "no 'shema'"),
        (json!({"regex": 1}), "regex", "a string"),
        (json!({"choice": vec!["a"; 257]}), "choice", "at most 256"),
        (json!({"regex": "a", "choice": ["b"]}), "choice", "only one"),
        (json!({"tools": {}}), "tools", "an array"),
        (json!({"tools": [{"name": "f"}]}), "tools", "\"function\""),
        (json!({"tools": [tool("a b")]}), "tools", "a-z"),
        (json!({"tools": [tool("a"), tool("a")]}), "tools", "two functions"),
        (json!({"tools": vec![tool("a"); 65]}), "tools", "at most 64"),
        (json!({"tool_choice": "required"}), "tool_choice", "no such function"),
        (json!({"tool_choice": "some", "tools": [tool("a")]}), "tool_choice", "required"),
        (json!({"tool_choice": tool("b"), "tools": [tool("a")]}), "tool_choice", "no such"),
        (json!({"tools": [tool("a")], "raw": true}), "tools", "template"),
        (json!({"tools": [tool("a")], "regex": "a"}), "tools", "not together"),
        (json!({"enable_thinking": 1}), "enable_thinking", "true or false"),
    ] {
        let (at, message) = form(fields.clone()).unwrap_err();
        assert_eq!(at, field, "{fields}: {message}");
        assert!(message.contains(reason), "{fields}: {message}");
    }
}

#[test]
fn unsupported_constraints_are_refused_with_the_field_name() {
    let bad = json!({"type": "poem"});
    let format = json!({"type": "json_schema", "json_schema": {"schema": bad}});
    let function = json!({"type": "function", "function": {"name": "f", "parameters": bad}});
    for (fields, field) in [
        (json!({"response_format": format}), "response_format"),
        (json!({"regex": "("}), "regex"),
        (json!({"choice": []}), "choice"),
        (json!({"tools": [function], "tool_choice": "required"}), "tools"),
    ] {
        let error = keepable(&form(fields).unwrap()).unwrap_err();
        assert_eq!(error.loc[..2], ["body".into(), Loc::from(field)], "{error:?}");
    }
}

#[test]
fn refusal_names_the_location_in_the_schema() {
    let format = |schema: Value| {
        let named = json!({"name": "a", "schema": schema});
        json!({"response_format": {"type": "json_schema", "json_schema": named}})
    };
    let schema = ["json_schema", "schema"];
    for (fields, at, reason) in [
        (
            format(
                json!({"type": "object", "properties": {"a/b": {"type": "string", "pattern": "[^\\s\\S]"}}, "required": ["a/b"]}),
            ),
            json!(["body", "response_format", schema[0], schema[1], "properties", "a/b"]),
            "no string fits",
        ),
        (
            format(json!({"anyOf": [{"type": "null"}, {"items": {"maxLength": -1}}]})),
            json!([
                "body",
                "response_format",
                schema[0],
                schema[1],
                "anyOf",
                1,
                "items",
                "maxLength"
            ]),
            "from 0",
        ),
        (
            format(json!({"$ref": "#"})),
            json!(["body", "response_format", schema[0], schema[1]]),
            "leads back",
        ),
        (
            json!({"tool_choice": "required", "tools": [tool("f"), {"type": "function", "function": {
                "name": "g", "parameters": {"type": "object", "properties": {"n": {"uniqueItems": true}}},
            }}]}),
            json!(["body", "tools", 1, "function", "parameters", "properties", "n", "uniqueItems"]),
            "parameters of 'g'",
        ),
        (json!({"regex": "a[^\\s\\S]"}), json!(["body", "regex"]), "matches no text"),
    ] {
        let error = keepable(&form(fields.clone()).unwrap()).unwrap_err();
        assert_eq!(serde_json::to_value(&error.loc).unwrap(), at, "{fields}: {}", error.message);
        assert!(error.message.contains(reason), "{}", error.message);
    }
    // Functions that cannot be called are not compiled, so an invalid schema does not matter.
    let bad =
        json!({"type": "function", "function": {"name": "bad", "parameters": {"type": "poem"}}});
    for choice in [json!("auto"), json!("none"), tool("f")] {
        let fields = json!({"tools": [tool("f"), bad], "tool_choice": choice});
        assert_eq!(keepable(&form(fields).unwrap()), Ok(vec![]));
    }
}

#[test]
fn numbers_in_schemas_and_tools_keep_their_spelling() {
    for number in [
        "9007199254740993",
        "18446744073709551617",
        "1000000000000000000000000000001",
        "0.10000000000000000000001",
    ] {
        let body = format!(
            r#"{{"prompt": "x", "tool_choice": "required", "tools": [{{"type": "function", "function":
                {{"name": "f", "parameters": {{"properties": {{"n": {{"enum": [{number}]}}}}}}}}}}]}}"#
        );
        let form = form(serde_json::from_str(&body).unwrap()).unwrap();
        let stored = serde_json::to_string(&form).unwrap();
        assert!(stored.contains(&format!("[{number}]")), "{stored}");
        assert_eq!(serde_json::from_str::<AnswerForm>(&stored).unwrap(), form);
        assert_eq!(keepable(&form), Ok(vec![]));
    }
}
