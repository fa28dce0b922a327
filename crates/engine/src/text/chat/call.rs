//! Parses function calls: JSON in the format of the Qwen families, near misses of weak models, or the tags of newer
//! models (`tagged_call`). The text tells which. Text that is not a valid call is returned as malformed, never dropped.

use chat::{Tool, ToolCall};
use serde_json::{Map, Value};

use super::tagged_call;

/// Keys of a call that are ignored.
const HARMLESS: [&str; 2] = ["id", "type"];

/// Parses the text between the tags. The call has no id yet. `is_closed` is whether the closing tag is there.
pub(super) fn read(raw: &str, tools: &[Tool], is_closed: bool) -> ToolCall {
    let read = match tagged_call::is_tagged(raw) {
        true => tagged_call::parse(raw, tools, is_closed),
        false => parse(raw).and_then(call),
    };
    match read {
        Ok((name, arguments)) => {
            ToolCall::Function { id: String::new(), name, arguments: Value::Object(arguments) }
        }
        Err(error) => ToolCall::Malformed { raw: raw.trim().to_owned(), error },
    }
}

/// Parses JSON whose strings may contain unescaped control characters, such as the line ends of a program.
fn parse(raw: &str) -> Result<Value, String> {
    serde_json::from_str(raw).or_else(|error| {
        let escaped = with_escapes(raw);
        let again = escaped.as_deref().and_then(|text| serde_json::from_str(text).ok());
        again.ok_or_else(|| format!("a call must be JSON: {error}"))
    })
}

fn call(value: Value) -> Result<(String, Map<String, Value>), String> {
    let Value::Object(mut call) = value else {
        return Err("a call must be a JSON object".to_owned());
    };
    // The format of OpenAI's API.
    if let (None, Some(Value::Object(function))) = (call.get("name"), call.get("function")) {
        call = function.clone();
    }
    let Some(Value::String(name)) = call.remove("name") else {
        return Err("a call must have a name, a string".to_owned());
    };
    let arguments = match (call.remove("arguments"), call.remove("parameters")) {
        (Some(one), Some(other)) if one != other => {
            return Err("a call has arguments or parameters, not both".to_owned());
        }
        (Some(one), _) | (None, Some(one)) => one,
        (None, None) => match call.keys().find(|key| !HARMLESS.contains(&key.as_str())) {
            Some(key) => return Err(format!("a call has arguments, not {key:?}")),
            None => Value::Object(Map::new()),
        },
    };
    match arguments {
        Value::Object(arguments) => Ok((name, arguments)),
        // JSON within JSON, as in OpenAI's API.
        Value::String(text) => match parse(&text) {
            Ok(Value::Object(arguments)) => Ok((name, arguments)),
            _ => Err("a call's arguments must be an object".to_owned()),
        },
        _ => Err("a call's arguments must be an object".to_owned()),
    }
}

/// Escapes the control characters in JSON strings; returns `None` if there are none.
fn with_escapes(raw: &str) -> Option<String> {
    let mut strings = StringScan::default();
    let mut escaped = String::with_capacity(raw.len() + 16);
    let mut found = false;
    for char in raw.chars() {
        if strings.is_open() && char < ' ' {
            found = true;
            let quoted = Value::from(char.to_string()).to_string();
            escaped.push_str(quoted.trim_matches('"'));
        } else {
            escaped.push(char);
        }
        strings.push(char);
    }
    found.then_some(escaped)
}

/// Tracks character by character whether a position in JSON is inside a string. Text that does not begin as an
/// object or array is not JSON, and has no strings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum StringScan {
    #[default]
    Before,
    Outside,
    Within,
    /// After a backslash.
    Escaped,
    NoJson,
}

impl StringScan {
    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::Within | Self::Escaped)
    }

    pub(super) fn push(&mut self, char: char) {
        *self = match (*self, char) {
            (Self::Before, '{' | '[') => Self::Outside,
            (Self::Before, char) if !char.is_whitespace() => Self::NoJson,
            (Self::Outside, '"') => Self::Within,
            (Self::Within, '"') => Self::Outside,
            (Self::Within, '\\') => Self::Escaped,
            (Self::Escaped, _) => Self::Within,
            (state, _) => state,
        };
    }
}
