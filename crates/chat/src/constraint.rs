//! Constraints on the form of an answer.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Tool, ToolChoice};

/// A constraint on the whole answer, from its first character to its last. The gateway checks it, and
/// the engine enforces it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Constraint {
    /// Any JSON object.
    JsonObject,
    /// JSON that matches a schema; its properties come in the schema's order.
    JsonSchema(Value),
    /// Text that a regular expression matches as a whole.
    Regex(String),
    /// One of these texts.
    Choice(Vec<String>),
    /// A call of one of these functions in the format of the Qwen families: `<tool_call>`, JSON with `name`
    /// and `arguments`, `</tool_call>`.
    ToolCall(Vec<Tool>),
    /// Any text with at most one call of a function, which ends it. The call's content is not constrained.
    AtMostOneCall,
}

impl Constraint {
    /// Returns whether it allows any reasoning before the answer, so that a model need not be kept from it.
    pub fn allows_reasoning(&self) -> bool {
        matches!(self, Self::AtMostOneCall)
    }

    /// Returns the constraint that `choice` puts on an answer to which `tools` are offered, if it must be a call.
    pub fn of_choice(choice: &ToolChoice, tools: &[Tool]) -> Option<Self> {
        let called = |tool: &&Tool| match choice {
            ToolChoice::Function(name) => tool.name == *name,
            _ => true,
        };
        choice.is_call().then(|| Self::ToolCall(tools.iter().filter(called).cloned().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_travels() {
        for constraint in [
            Constraint::JsonObject,
            Constraint::JsonSchema(serde_json::json!({"type": "object"})),
            Constraint::Regex("a|b".into()),
            Constraint::Choice(vec!["a".into(), "b".into()]),
            Constraint::ToolCall(vec![Tool::named("f")]),
            Constraint::AtMostOneCall,
        ] {
            let text = serde_json::to_string(&constraint).unwrap();
            assert_eq!(serde_json::from_str::<Constraint>(&text).unwrap(), constraint, "{text}");
        }
    }
}
