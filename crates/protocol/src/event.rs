//! A numbered step in a task's life. Readers resume after the last number they saw.

use serde::{Deserialize, Serialize};

use crate::{Attempt, EventSeq, Outcome, Timestamp, ToolCall, WorkerId};

/// One step, as readers see it.
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
pub enum EventBody {
    /// Accepted into the queue.
    Queued,
    /// A worker began. Tokens of an earlier attempt are void from here on.
    Started {
        /// Which delivery this is.
        attempt: Attempt,
        /// Who took it.
        worker: WorkerId,
    },
    /// Text was generated. Chunks concatenate to the answer; none splits a character.
    Token {
        /// Which delivery wrote it.
        attempt: Attempt,
        /// The text.
        #[serde(flatten)]
        chunk: Chunk,
    },
    /// Back in the queue; the next attempt starts afresh.
    Requeued {
        /// The delivery that ended.
        attempt: Attempt,
        /// Why.
        reason: String,
    },
    /// The end.
    Ended {
        /// How it ended.
        #[serde(flatten)]
        outcome: Outcome,
    },
}

/// Some of an answer, as it was generated.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    /// The text, tags included. Empty where only the end of the answer shows what came before.
    pub text: String,
    /// What became certain of the answer with it, in order; none if the answer is not told apart. What may be
    /// the beginning of a tag, and a call until it is whole, is told later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<Vec<AnswerPart>>,
}

impl<T: Into<String>> From<T> for Chunk {
    /// Of an answer that is not told apart.
    fn from(text: T) -> Self {
        Self { text: text.into(), parts: None }
    }
}

/// A piece of an answer that is told apart. Pieces of a kind that follow one another concatenate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AnswerPart {
    /// More of what the model thinks before it answers.
    Reasoning {
        /// The text.
        text: String,
    },
    /// More of the answer itself.
    Text {
        /// The text.
        text: String,
    },
    /// A whole call of a function, or what stood in place of one.
    ToolCall {
        /// The call.
        call: ToolCall,
    },
}

impl EventBody {
    /// The name of the step, as in an SSE `event:` line.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Started { .. } => "started",
            Self::Token { .. } => "token",
            Self::Requeued { .. } => "requeued",
            Self::Ended { outcome } => outcome.state().as_str(),
        }
    }

    /// Whether nothing follows it.
    pub const fn is_last(&self) -> bool {
        matches!(self, Self::Ended { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_carries_what_it_is_where_that_is_told() {
        let event = |chunk| EventBody::Token { attempt: Attempt::FIRST, chunk };
        let plain = serde_json::json!({"event": "token", "attempt": 1, "text": "a"});
        assert_eq!(serde_json::to_value(event("a".into())).unwrap(), plain);
        assert_eq!(serde_json::from_value::<EventBody>(plain).unwrap(), event("a".into()));
        let call =
            ToolCall::Function { name: "f".into(), arguments: serde_json::json!({"n": 1.5}) };
        let told = event(Chunk {
            text: "</think>b".into(),
            parts: Some(vec![
                AnswerPart::Reasoning { text: "a".into() },
                AnswerPart::Text { text: "b".into() },
                AnswerPart::ToolCall { call },
            ]),
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
    fn the_end_carries_its_outcome() {
        let event = Event {
            seq: EventSeq::new(3),
            at: Timestamp::from_millis(7),
            body: EventBody::Ended { outcome: Outcome::Cancelled },
        };
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json, serde_json::json!({"seq":3,"at":7,"event":"ended","state":"cancelled"}));
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
        assert_eq!(event.body.name(), "cancelled");
    }
}
