//! Reads a call of a function: JSON, as the Qwen families write it, or what weak models write for it. What
//! is no call is told with what stood there, never dropped.

use serde_json::{Map, Value};

/// A call of a function, as far as it is one.
#[derive(Debug, Clone, PartialEq)]
pub enum ToolCall {
    /// What to call.
    Function {
        /// The function.
        name: String,
        /// An object: what it is given.
        arguments: Value,
    },
    /// Something else that stood where a call belongs.
    Malformed {
        /// What stood there.
        raw: String,
        /// What is wrong with it.
        error: String,
    },
}

/// Keys that a call may have beside its name and arguments; they say nothing of them.
const HARMLESS: [&str; 2] = ["id", "type"];

impl ToolCall {
    /// Reads what stood between the tags.
    pub(super) fn read(raw: &str) -> Self {
        match parse(raw).and_then(call) {
            Ok((name, arguments)) => Self::Function { name, arguments: Value::Object(arguments) },
            Err(error) => Self::Malformed { raw: raw.trim().to_owned(), error },
        }
    }
}

/// Reads JSON, whose strings may have control characters that JSON wants escaped, such as the ends of
/// lines in a program.
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
    // As OpenAI's API has it.
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

/// The text with the control characters of its JSON strings escaped; `None` if there are none.
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

/// Knows at each character of JSON whether it stands within a string. What does not begin as an object
/// or an array does is no JSON, and has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum StringScan {
    #[default]
    Before,
    Outside,
    Within,
    /// Behind a backslash.
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
