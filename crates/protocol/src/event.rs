//! The events of a task: numbered steps of its life. Readers resume after the last number they have
//! seen.

use chat::{Part, TokenLogprobs};
use serde::{Deserialize, Serialize};

use crate::{Attempt, EventSeq, Outcome, Timestamp, WorkerId};

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its number within the task.
    pub seq: EventSeq,
    /// When the broker recorded it.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[allow(clippy::large_enum_variant)] // few events are read at a time, and most are moved once
pub enum EventBody {
    /// Accepted into the queue.
    Queued,
    /// A worker started an attempt. Tokens of earlier attempts are void.
    Started {
        /// The attempt's number.
        attempt: Attempt,
        /// The worker that runs it.
        worker: WorkerId,
    },
    /// Text was generated. The chunks of a choice concatenate to its answer; none splits a character.
    Token {
        /// The attempt that generated it.
        attempt: Attempt,
        /// The text.
        #[serde(flatten)]
        chunk: Chunk,
    },
    /// The task is queued again; the next attempt starts from the prompt.
    Requeued {
        /// The attempt that ended.
        attempt: Attempt,
        /// Why.
        reason: String,
    },
    /// The task has ended.
    Ended {
        /// The outcome.
        #[serde(flatten)]
        outcome: Outcome,
    },
}

/// A piece of an answer, as it was generated.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    /// The index of the answer that it belongs to, if the task asked for several.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub choice: u16,
    /// The text, with tags. Empty if this chunk only completes parts of text that was sent before.
    pub text: String,
    /// The parts of the answer that this chunk completes, in order; `None` if the answer is not
    /// split into parts. Text that may be the start of a tag is held back, and so is a call until
    /// it is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<Vec<Part>>,
    /// The logprobs of the tokens whose text begins in this chunk, if requested.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logprobs: Vec<TokenLogprobs>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_zero(choice: &u16) -> bool {
    *choice == 0
}

impl<T: Into<String>> From<T> for Chunk {
    /// Creates a chunk of an answer that is not split into parts.
    fn from(text: T) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

impl EventBody {
    /// Returns the event's name, as in an SSE `event:` line.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Started { .. } => "started",
            Self::Token { .. } => "token",
            Self::Requeued { .. } => "requeued",
            Self::Ended { outcome } => outcome.state().as_str(),
        }
    }

    /// Whether no event follows it.
    pub const fn is_last(&self) -> bool {
        matches!(self, Self::Ended { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_parts_if_the_answer_is_split() {
        let event = |chunk| EventBody::Token { attempt: Attempt::FIRST, chunk };
        let plain = serde_json::json!({"event": "token", "attempt": 1, "text": "a"});
        assert_eq!(serde_json::to_value(event("a".into())).unwrap(), plain);
        assert_eq!(serde_json::from_value::<EventBody>(plain).unwrap(), event("a".into()));
        let call = chat::ToolCall::Function {
            id: String::new(),
            name: "f".into(),
            arguments: serde_json::json!({"n": 1.5}),
        };
        let told = event(Chunk {
            text: "</think>b".into(),
            parts: Some(vec![
                Part::Reasoning { text: "a".into() },
                Part::Text { text: "b".into() },
                Part::ToolCall { call },
            ]),
            ..Chunk::default()
        });
        let json = serde_json::to_value(&told).unwrap();
        let parts = serde_json::json!([
            {"kind": "reasoning", "text": "a"},
            {"kind": "text", "text": "b"},
            {"kind": "tool_call", "call": {"name": "f", "arguments": {"n": 1.5}}},
        ]);
        assert_eq!(json["parts"], parts);
        assert_eq!(serde_json::from_value::<EventBody>(json).unwrap(), told);
    }

    #[test]
    fn a_chunk_names_its_choice_unless_it_is_the_first() {
        let second = EventBody::Token {
            attempt: Attempt::FIRST,
            chunk: Chunk { choice: 1, ..Chunk::from("a") },
        };
        let json = serde_json::json!({"event": "token", "attempt": 1, "choice": 1, "text": "a"});
        assert_eq!(serde_json::to_value(&second).unwrap(), json);
        assert_eq!(serde_json::from_value::<EventBody>(json).unwrap(), second);
    }

    #[test]
    fn the_last_event_has_the_outcome() {
        let event = Event {
            seq: EventSeq::new(3),
            at: Timestamp::from_millis(7),
            body: EventBody::Ended { outcome: Outcome::CANCELLED },
        };
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json, serde_json::json!({"seq":3,"at":7,"event":"ended","state":"cancelled"}));
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
        assert_eq!(event.body.name(), "cancelled");
    }
}
