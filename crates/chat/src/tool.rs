//! Functions that a model may call, and its calls.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A function that the model may call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// Its description, for the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The JSON schema of its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Value>,
}

impl Tool {
    /// Creates a function without a description and with any arguments.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), description: None, parameters: None }
    }
}

/// The rule whether the model must, may or must not call a function.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// The model must not call a function: none is offered. The answer is still split into parts.
    None,
    /// The model must call a function.
    Required,
    /// The model must call this function.
    Function(String),
}

impl ToolChoice {
    /// Returns whether the model decides.
    pub fn is_auto(&self) -> bool {
        matches!(self, Self::Auto)
    }

    /// Returns whether the answer must be a call.
    pub fn is_call(&self) -> bool {
        matches!(self, Self::Required | Self::Function(_))
    }
}

/// A call in an answer, valid or malformed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ToolCall {
    /// A call of a function with its arguments.
    Function {
        /// Names the call within its conversation, so that a result can refer to it: `call_…`. Empty until the
        /// worker sets it, and in records of older versions.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        id: String,
        /// The function's name. The model may name one that was not offered.
        name: String,
        /// A JSON object, with its numbers as the model wrote them. Validated against the schema only if
        /// the call was required.
        arguments: Value,
    },
    /// Text in the place of a call that is not a valid one.
    Malformed {
        /// The text.
        raw: String,
        /// The reason why it is not valid.
        error: String,
    },
}

impl ToolCall {
    /// Returns the call with this id; a malformed one has none.
    pub fn with_id(mut self, call_id: impl Into<String>) -> Self {
        if let Self::Function { id, .. } = &mut self {
            *id = call_id.into();
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn calls_are_told_by_their_fields() {
        let call =
            ToolCall::Function { id: String::new(), name: "f".into(), arguments: json!({"a": 1}) };
        let broken = ToolCall::Malformed { raw: "{".into(), error: "no JSON".into() };
        for (call, text) in [
            (call.clone().with_id("call_1"), r#"{"id":"call_1","name":"f","arguments":{"a":1}}"#),
            (call, r#"{"name":"f","arguments":{"a":1}}"#),
            (broken, r#"{"raw":"{","error":"no JSON"}"#),
        ] {
            assert_eq!(serde_json::to_string(&call).unwrap(), text);
            assert_eq!(serde_json::from_str::<ToolCall>(text).unwrap(), call);
        }
    }
}
