//! A numbered step in a task's life. Readers resume after the last number they saw.

use serde::{Deserialize, Serialize};

use crate::{Attempt, EventSeq, Outcome, Timestamp, WorkerId};

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
        text: String,
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
