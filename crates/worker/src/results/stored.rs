//! The stored form of answers: as the engine generated them, before they are split and read, so that each task gets
//! its own ids of calls and its own skill.

use chat::{FinishReason, TokenLogprobs, Usage};
use engine::text::AnswerStart;
use serde::{Deserialize, Serialize};

/// The answers to a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredAnswers {
    /// The tokens that were read and generated.
    pub(crate) usage: Usage,
    /// Where the answers begin.
    #[serde(with = "Start")]
    pub(crate) start: AnswerStart,
    pub(crate) answers: Vec<StoredAnswer>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredAnswer {
    /// The text with all tags, and with the echo of the prompt if the task asks for it.
    pub(crate) text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) logprobs: Vec<TokenLogprobs>,
    pub(crate) finish_reason: FinishReason,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stop_sequence: Option<String>,
}

/// [`AnswerStart`] for serde.
#[derive(Serialize, Deserialize)]
#[serde(remote = "AnswerStart", rename_all = "snake_case")]
enum Start {
    AtFirstToken,
    InsideReasoning,
    BeforeReasoning,
}
