//! Parses function calls in the form of Qwen3-Coder and of Qwen3.5 and later, whose arguments are texts between tags:
//! `<function=name><parameter=key>` value `</parameter></function>`. The functions' schemas decide which type a value
//! has.

use chat::Tool;
use serde_json::{Map, Value};

const FUNCTION: &str = "<function=";
const FUNCTION_END: &str = "</function>";
const PARAMETER: &str = "<parameter=";
const PARAMETER_END: &str = "</parameter>";

/// Whether a call has this form. `raw` may be its beginning.
pub(super) fn is_tagged(raw: &str) -> bool {
    raw.trim_start().starts_with(FUNCTION)
}

/// Whether a call of this form ends inside a value, where a closing tag of the call is text.
pub(super) fn ends_inside_value(raw: &str) -> bool {
    let begins = raw.rfind(PARAMETER);
    begins.is_some_and(|begins| !raw[begins..].contains(PARAMETER_END))
}

/// Parses a call. `is_closed` is whether its closing tag follows: only then may `</function>` be missing.
pub(super) fn parse(
    raw: &str,
    tools: &[Tool],
    is_closed: bool,
) -> Result<(String, Map<String, Value>), String> {
    let rest = raw.trim().strip_prefix(FUNCTION).ok_or("a call must begin with <function=")?;
    let (name, mut rest) = rest.split_once('>').ok_or("a call's <function= must end with >")?;
    let name = unquoted(name);
    if name.is_empty() {
        return Err("a call must have a name".to_owned());
    }
    let schema = tools.iter().find(|tool| tool.name == name);
    let properties = schema.and_then(|tool| tool.parameters.as_ref()?.get("properties"));
    let mut arguments = Map::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix(FUNCTION_END) {
            return match after.trim() {
                "" => Ok((name.to_owned(), arguments)),
                text => Err(format!("text follows </function>: {:?}", short(text))),
            };
        }
        if rest.is_empty() && is_closed {
            return Ok((name.to_owned(), arguments));
        }
        let after = rest.strip_prefix(PARAMETER).ok_or_else(|| match rest {
            "" => "a call must end with </function>".to_owned(),
            text => format!("a call has parameters, not {:?}", short(text)),
        })?;
        let (key, after) = after.split_once('>').ok_or("<parameter= must end with >")?;
        let (value, after) = value_of(after).ok_or_else(|| {
            format!("the parameter {:?} must end with </parameter>", short(unquoted(key)))
        })?;
        let key = unquoted(key);
        let schema = properties.and_then(|properties| properties.get(key));
        if arguments.insert(key.to_owned(), typed(value, schema)).is_some() {
            return Err(format!("the parameter {:?} is there twice", short(key)));
        }
        rest = after;
    }
}

/// Splits at the end of a value: at its closing tag or, if that is missing, before the next parameter or the end of the
/// call. Without the line ends beside the tags.
fn value_of(text: &str) -> Option<(&str, &str)> {
    let end = text.find(PARAMETER_END);
    let next = [PARAMETER, FUNCTION_END].iter().filter_map(|tag| text.find(tag)).min();
    let (value, rest) = match (end, next) {
        (Some(end), _) => (&text[..end], &text[end + PARAMETER_END.len()..]),
        (None, Some(next)) => text.split_at(next),
        (None, None) => return None,
    };
    let value = value.strip_prefix('\n').unwrap_or(value);
    Some((value.strip_suffix('\n').unwrap_or(value), rest))
}

/// Converts a value to a type that its schema allows. A value of none of these types, or without a schema, is a string.
fn typed(text: &str, schema: Option<&Value>) -> Value {
    let mut types = Vec::new();
    schema.into_iter().for_each(|schema| collect_types(schema, &mut types));
    let is_allowed = |kind: &str| types.contains(&kind);
    let trimmed = text.trim();
    // Templates print Python's constants.
    let read = match trimmed {
        "True" => Some(Value::Bool(true)),
        "False" => Some(Value::Bool(false)),
        "None" => Some(Value::Null),
        json => serde_json::from_str(json).ok(),
    };
    let fits = |value: &Value| match value {
        Value::Null => is_allowed("null"),
        Value::Bool(_) => is_allowed("boolean"),
        Value::Number(number) => {
            is_allowed("number") || is_allowed("integer") && (number.is_i64() || number.is_u64())
        }
        Value::Array(_) => is_allowed("array"),
        Value::Object(_) => is_allowed("object"),
        Value::String(_) => false,
    };
    match read {
        Some(value) if fits(&value) => value,
        // A number is often written as 3.0 where an integer is asked for.
        Some(Value::Number(number)) if is_allowed("integer") && !is_allowed("string") => {
            match number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 1e15) {
                Some(whole) => Value::from(whole as i64),
                None => Value::String(text.to_owned()),
            }
        }
        _ => Value::String(text.to_owned()),
    }
}

/// Adds the types that a schema allows.
fn collect_types<'a>(schema: &'a Value, types: &mut Vec<&'a str>) {
    match schema.get("type") {
        Some(Value::String(kind)) => types.push(kind),
        Some(Value::Array(kinds)) => types.extend(kinds.iter().filter_map(Value::as_str)),
        _ => {}
    }
    if types.is_empty() {
        let constants = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
        for value in constants.chain(schema.get("const")) {
            types.push(kind_of(value));
        }
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        let parts = schema.get(key).and_then(Value::as_array).into_iter().flatten();
        parts.for_each(|part| collect_types(part, types));
    }
    if schema.get("properties").is_some() {
        types.push("object");
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Returns a name without spaces and quotes around it.
fn unquoted(name: &str) -> &str {
    name.trim().trim_matches(['"', '\''])
}

fn short(text: &str) -> &str {
    let end = text.char_indices().nth(60).map_or(text.len(), |(end, _)| end);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tool(parameters: Value) -> [Tool; 1] {
        [Tool { parameters: Some(parameters), ..Tool::named("f") }]
    }

    #[test]
    fn values_have_the_types_of_their_schemas() {
        let tools = tool(json!({"properties": {
            "text": {"type": "string"}, "count": {"type": "integer"}, "share": {"type": "number"},
            "flag": {"type": "boolean"}, "list": {"type": "array"}, "map": {"type": "object"},
            "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]}, "mixed": {"type": ["string", "integer"]},
            "one": {"enum": [1, 2]}, "nested": {"properties": {}},
        }}));
        for (key, text, expected) in [
            ("text", "3", json!("3")),
            ("text", "true", json!("true")),
            ("text", "  a\n\n  b ", json!("  a\n\n  b ")),
            ("text", "", json!("")),
            ("count", "3", json!(3)),
            ("count", " 3\n", json!(3)),
            ("count", "3.0", json!(3)),
            ("count", "3.5", json!("3.5")),
            ("count", "three", json!("three")),
            ("share", "0.5", json!(0.5)),
            ("share", "1", json!(1)),
            ("flag", "true", json!(true)),
            ("flag", "False", json!(false)),
            ("list", "[1, \"a\"]", json!([1, "a"])),
            ("list", "[1,", json!("[1,")),
            ("map", "{\"a\": null}", json!({"a": null})),
            ("nested", "{}", json!({})),
            ("maybe", "None", json!(null)),
            ("maybe", "null", json!(null)),
            ("maybe", "7", json!(7)),
            ("mixed", "7", json!(7)),
            ("mixed", "seven", json!("seven")),
            ("one", "2", json!(2)),
            ("unknown", "2", json!("2")),
        ] {
            let raw =
                format!("\n<function=f>\n<parameter={key}>\n{text}\n</parameter>\n</function>\n");
            let (name, arguments) = parse(&raw, &tools, true).unwrap();
            assert_eq!((name.as_str(), &arguments[key]), ("f", &expected), "{key}: {text:?}");
        }
    }

    #[test]
    fn near_misses_are_read_and_damaged_calls_are_not() {
        let read = |raw: &str, is_closed| parse(raw, &[], is_closed);
        for (raw, arguments) in [
            ("<function=f></function>", json!({})),
            ("<function=\"f\"><parameter='a'>1</parameter></function>", json!({"a": "1"})),
            (
                "<function=f>\n<parameter=a>\n1\n<parameter=b>\n2\n</function>",
                json!({"a": "1", "b": "2"}),
            ),
            ("<function=f>\n<parameter=a>\nx\n</parameter>\n", json!({"a": "x"})),
        ] {
            let found = read(raw, true);
            assert_eq!(
                found,
                Ok(("f".to_owned(), arguments.as_object().unwrap().clone())),
                "{raw}"
            );
        }
        for (raw, is_closed, problem) in [
            ("<function=f>\n<parameter=a>\nx\n</parameter>\n", false, "must end with </function>"),
            ("<function=f", true, "must end with >"),
            ("<function=>\n</function>", true, "must have a name"),
            ("<function=f>\n<parameter=a>\nx", true, "\"a\" must end with </parameter>"),
            ("<function=f>\nhello\n</function>", true, "not \"hello"),
            ("<function=f></function> and more", true, "\"and more\""),
            (
                "<function=f><parameter=a>1</parameter><parameter=a>2</parameter></function>",
                true,
                "twice",
            ),
        ] {
            let error = read(raw, is_closed).unwrap_err();
            assert!(error.contains(problem), "{raw}: {error}");
        }
    }
}
