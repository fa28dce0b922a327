//! What an answer cost, and why it ended.

use serde::{Deserialize, Serialize};

/// Why generation ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended its turn, or a stop string occurred.
    #[default]
    Stop,
    /// `max_tokens` or the context length was reached.
    Length,
}

/// The tokens of a prompt and its answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt, including those of the chat template.
    pub prompt_tokens: u32,
    /// Tokens generated.
    pub completion_tokens: u32,
    /// Tokens of the prompt that were found in the prefix cache, which is per tenant.
    #[serde(default)]
    pub cached_tokens: u32,
    /// Generated tokens that are reasoning: those inside `<think>` and `</think>`.
    #[serde(default, skip_serializing_if = "is_none")]
    pub reasoning_tokens: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_none(tokens: &u32) -> bool {
    *tokens == 0
}

impl Usage {
    /// Returns whether nothing was computed.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_without_cached_or_reasoning_tokens_is_still_read() {
        let usage: Usage =
            serde_json::from_str(r#"{"prompt_tokens":5,"completion_tokens":7}"#).unwrap();
        assert_eq!(usage, Usage { prompt_tokens: 5, completion_tokens: 7, ..Usage::default() });
        assert!(!serde_json::to_string(&usage).unwrap().contains("reasoning"));
        let thinking = Usage { reasoning_tokens: 6, ..usage };
        let text = serde_json::to_string(&thinking).unwrap();
        assert_eq!(serde_json::from_str::<Usage>(&text).unwrap(), thinking, "{text}");
    }
}
