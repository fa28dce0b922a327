//! What an answer cost, and why it ended.

use std::ops::AddAssign;

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
    /// Tokens that speculative decoding drafted and computed beside those generated.
    #[serde(default, skip_serializing_if = "is_none")]
    pub drafted_tokens: u32,
    /// Generated tokens that were drafted.
    #[serde(default, skip_serializing_if = "is_none")]
    pub accepted_tokens: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_none(tokens: &u32) -> bool {
    *tokens == 0
}

impl Usage {
    /// The usage of what was not computed.
    pub const NONE: Self = Self {
        prompt_tokens: 0,
        completion_tokens: 0,
        cached_tokens: 0,
        reasoning_tokens: 0,
        drafted_tokens: 0,
        accepted_tokens: 0,
    };

    /// Returns whether nothing was computed.
    pub fn is_zero(&self) -> bool {
        *self == Self::NONE
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, more: Self) {
        for (sum, tokens) in [
            (&mut self.prompt_tokens, more.prompt_tokens),
            (&mut self.completion_tokens, more.completion_tokens),
            (&mut self.cached_tokens, more.cached_tokens),
            (&mut self.reasoning_tokens, more.reasoning_tokens),
            (&mut self.drafted_tokens, more.drafted_tokens),
            (&mut self.accepted_tokens, more.accepted_tokens),
        ] {
            *sum = sum.saturating_add(tokens);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_without_later_counts_is_still_read() {
        let usage: Usage =
            serde_json::from_str(r#"{"prompt_tokens":5,"completion_tokens":7}"#).unwrap();
        assert_eq!(usage, Usage { prompt_tokens: 5, completion_tokens: 7, ..Usage::default() });
        let text = serde_json::to_string(&usage).unwrap();
        assert!(
            ["reasoning", "drafted", "accepted"].iter().all(|name| !text.contains(name)),
            "{text}"
        );
        let thinking =
            Usage { reasoning_tokens: 6, drafted_tokens: 5, accepted_tokens: 4, ..usage };
        let text = serde_json::to_string(&thinking).unwrap();
        assert_eq!(serde_json::from_str::<Usage>(&text).unwrap(), thinking, "{text}");
    }
}
