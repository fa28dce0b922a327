//! Validates input without HTTP: turns JSON into a request or the list of **all** its problems.
//! Routes decide how problems are formatted, so the same checks serve FastAPI's format and
//! OpenAI's.

pub(crate) mod admin;
mod chat;
mod constraint;
mod duplicates;
pub(crate) mod fields;
pub(crate) mod form;
mod generate;
pub(crate) mod images;
mod json;
pub(crate) mod key;
mod limits;
pub(crate) mod messages;
mod queueing;
pub(crate) mod sampling;
mod skill;
mod suggest;
pub(crate) mod tasks;
mod wait;
pub(crate) mod webhook;
mod whole;

pub(crate) use self::chat::MAX_TOOLS;
pub use crate::order::ImageRules;
pub(crate) use constraint::keepable;
pub use generate::generate;
pub(crate) use generate::{MAX_USER_ID_CHARS, generate_with, named_model};
pub use json::{JsonError, parse};
pub use limits::Limits;
pub(crate) use queueing::{MAX_AHEAD_S, MAX_METADATA, MAX_METADATA_NAME, MAX_METADATA_VALUE};
pub(crate) use sampling::{
    DEFAULT_MAX_TOKENS, MAX_BIASES, MAX_STOP_BYTES, MAX_STOPS, field_groups,
};
pub(crate) use skill::{SkillRequest, apply as apply_skill, skill_request};
pub(crate) use wait::asynchronous;
pub use wait::{preferred_wait, wait};

pub use crate::loc::Loc;

/// The kind of a problem with a model that no worker serves.
pub(crate) const UNKNOWN_MODEL: &str = "unknown_model";

/// One problem with a client's input.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FieldError {
    /// The path to the value: `["body", "max_tokens"]`.
    pub loc: Vec<Loc>,
    /// A message for people: the problem and the allowed values.
    #[serde(rename = "msg")]
    pub message: String,
    /// A stable code for programs, named as in pydantic.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

impl FieldError {
    /// Creates a problem at `loc`.
    pub fn new<const N: usize>(
        loc: [Loc; N],
        kind: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { loc: loc.into(), message: message.into(), kind }
    }

    /// Returns the path to the value within its part of the request: `messages.0.content`. `None` if
    /// the problem is with the whole part, such as at a position of a body that is not JSON.
    pub(crate) fn param(&self) -> Option<String> {
        if let Some(Loc::Index(_)) = self.loc.get(1) {
            return None;
        }
        let steps = self.loc.iter().skip(1).map(|step| match step {
            Loc::Name(name) => name.clone(),
            Loc::Index(index) => index.to_string(),
        });
        let path = steps.collect::<Vec<_>>().join(".");
        (!path.is_empty()).then_some(path)
    }

    /// Returns the message behind the path to the value: `messages.0.content: …`.
    pub(crate) fn message_with_path(&self) -> String {
        match self.param() {
            Some(path) => format!("{path}: {}", self.message),
            None => self.message.clone(),
        }
    }
}

/// Returns the name of a JSON value's type, for messages.
pub(crate) fn type_name(value: &serde_json::Value) -> &'static str {
    use serde_json::Value;
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a fractional number",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Sanitizes a client's text for messages: at most 64 characters, without control characters.
pub(crate) fn echo(text: &str) -> String {
    let mut short: String =
        text.chars().take(64).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if short.len() < text.len() && text.chars().nth(64).is_some() {
        short.push('…');
    }
    short
}
