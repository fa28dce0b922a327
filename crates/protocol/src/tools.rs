//! Functions that a model may call, and the calls it made.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A function that the model may call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does, for the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The JSON schema of its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Value>,
}

/// Whether the model calls a function.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    /// As it thinks best.
    #[default]
    Auto,
    /// It must call none: it is not offered any, and its answer is split into its parts all the same.
    None,
    /// It must call one.
    Required,
    /// It must call this one.
    Function(String),
}

impl ToolChoice {
    /// Whether it is left to the model.
    pub fn is_auto(&self) -> bool {
        matches!(self, Self::Auto)
    }

    /// Whether the answer must be a call.
    pub fn is_call(&self) -> bool {
        matches!(self, Self::Required | Self::Function(_))
    }
}

/// A call that the model made, as far as it is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ToolCall {
    /// A function and what it is given.
    Function {
        /// The function. The model may name one that was not offered.
        name: String,
        /// A JSON object, its numbers as the model wrote them. Not held against the schema, but for a call
        /// that was required.
        arguments: Value,
    },
    /// Something that stood where a call belongs, and is none.
    Malformed {
        /// What stood there.
        raw: String,
        /// What is wrong with it.
        error: String,
    },
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn calls_are_told_by_their_fields() {
        let call = ToolCall::Function { name: "f".into(), arguments: json!({"a": 1}) };
        let broken = ToolCall::Malformed { raw: "{".into(), error: "no JSON".into() };
        for (call, text) in [
            (call, r#"{"name":"f","arguments":{"a":1}}"#),
            (broken, r#"{"raw":"{","error":"no JSON"}"#),
        ] {
            assert_eq!(serde_json::to_string(&call).unwrap(), text);
            assert_eq!(serde_json::from_str::<ToolCall>(text).unwrap(), call);
        }
    }
}
