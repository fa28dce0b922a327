//! The one recorded end of a task.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Logprobs, RecommendedSampling, TaskState, ToolCall};

/// How a task ended. Exactly one is ever recorded per task; the broker refuses a second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Outcome {
    /// The model answered.
    Completed(Completion),
    /// It could not be answered.
    Failed(TaskError),
    /// Its owner took it back.
    Cancelled,
}

impl Outcome {
    /// The terminal state that this outcome puts its task in.
    pub const fn state(&self) -> TaskState {
        match self {
            Self::Completed(_) => TaskState::Completed,
            Self::Failed(_) => TaskState::Failed,
            Self::Cancelled => TaskState::Cancelled,
        }
    }

    /// Tokens read and written; none unless completed.
    pub fn usage(&self) -> Usage {
        match self {
            Self::Completed(completion) => completion.usage,
            Self::Failed(_) | Self::Cancelled => Usage::default(),
        }
    }
}

/// A model's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// The generated text.
    pub text: String,
    /// What the model thought before, if that was to be told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// The functions that it calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Why it ends where it ends.
    pub finish_reason: FinishReason,
    /// Tokens read and written.
    pub usage: Usage,
    /// How likely its tokens were, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Logprobs>,
    /// What its tokens were drawn by because the model recommends it and the request set nothing.
    #[serde(default, skip_serializing_if = "RecommendedSampling::is_empty")]
    pub sampling_defaults: RecommendedSampling,
}

/// Why generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended its turn, or a stop string was met.
    Stop,
    /// `max_tokens` or the context was used up.
    Length,
}

/// Tokens read and written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt, the chat template's included.
    pub prompt_tokens: u32,
    /// Tokens generated.
    pub completion_tokens: u32,
    /// Those of the prompt's that the engine had computed before, for the same tenant.
    #[serde(default)]
    pub cached_tokens: u32,
}

/// Why a task failed, for a person (`message`) and for a program (`error_type`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct TaskError {
    /// What kind of failure.
    pub error_type: ErrorType,
    /// What was wrong, what is allowed, what to do.
    pub message: String,
    /// What led to it, outermost first; kept in `errors.log`, not shown to clients.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
}

impl TaskError {
    /// An error without a deeper cause.
    pub fn new(error_type: ErrorType, message: impl Into<String>) -> Self {
        Self { error_type, message: message.into(), chain: Vec::new() }
    }

    /// The same with its causes, collected from `error`'s source chain.
    pub fn caused_by(mut self, error: &dyn std::error::Error) -> Self {
        let mut next = Some(error);
        while let Some(cause) = next {
            self.chain.push(cause.to_string());
            next = cause.source();
        }
        self
    }
}

/// The kinds of failure, part of the API as `error_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorType {
    /// Prompt plus one token do not fit the model's context. Never retried.
    ContextLengthExceeded,
    /// The request can't be carried out as it is (e.g. the chat template refuses it). Never retried.
    InvalidRequest,
    /// `TASK_TIME_LIMIT` ran out. Never retried.
    TimeLimitExceeded,
    /// The task was not started by its deadline. Never retried.
    Expired,
    /// The worker ran out of memory. Retried.
    OutOfMemory,
    /// The engine failed in a way that may pass. Retried.
    EngineError,
    /// Worker after worker died while holding the task: the attempts are used up. Not retried.
    WorkerLost,
    /// The stored task can't be read by this version. Never retried.
    UnreadableRecord,
    /// A type that a newer version recorded.
    #[serde(other)]
    Unknown,
}

impl ErrorType {
    /// Whether another attempt may end better. What is the user's fault never does.
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::OutOfMemory | Self::EngineError)
    }

    /// Whether a task that ends so used its attempts up, or can't be read: work for an operator, who
    /// may replay it. The others are settled: the client was told what to change.
    pub const fn is_dead_letter(self) -> bool {
        matches!(
            self,
            Self::OutOfMemory | Self::EngineError | Self::WorkerLost | Self::UnreadableRecord
        )
    }

    /// The name on the wire and in the logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ContextLengthExceeded => "context_length_exceeded",
            Self::InvalidRequest => "invalid_request",
            Self::TimeLimitExceeded => "time_limit_exceeded",
            Self::Expired => "expired",
            Self::OutOfMemory => "out_of_memory",
            Self::EngineError => "engine_error",
            Self::WorkerLost => "worker_lost",
            Self::UnreadableRecord => "unreadable_record",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for ErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_names_its_state_on_the_wire() {
        let outcome = Outcome::Failed(TaskError::new(ErrorType::OutOfMemory, "no room"));
        let json = serde_json::to_value(&outcome).unwrap();
        assert_eq!(json["state"], "failed");
        assert_eq!(json["error_type"], "out_of_memory");
        assert_eq!(serde_json::from_value::<Outcome>(json).unwrap(), outcome);
    }

    #[test]
    fn an_outcome_recorded_before_there_was_a_cache_is_still_read() {
        let usage: Usage =
            serde_json::from_str(r#"{"prompt_tokens":5,"completion_tokens":7}"#).unwrap();
        assert_eq!(usage, Usage { prompt_tokens: 5, completion_tokens: 7, cached_tokens: 0 });
    }

    #[test]
    fn an_answer_has_logprobs_only_if_they_were_asked_for() {
        let json = serde_json::json!({
            "state": "completed", "text": "a", "finish_reason": "stop",
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "cached_tokens": 0}
        });
        let mut outcome: Outcome = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(&outcome).unwrap(), json);
        if let Outcome::Completed(completion) = &mut outcome {
            let drawn = crate::TokenLogprob::new(b"a".into(), -0.1);
            let token = crate::TokenLogprobs { drawn, top_logprobs: vec![] };
            completion.logprobs = Some(Logprobs { content: vec![token] });
        }
        let text = serde_json::to_string(&outcome).unwrap();
        assert_eq!(serde_json::from_str::<Outcome>(&text).unwrap(), outcome, "{text}");
    }

    #[test]
    fn an_error_type_from_the_future_is_still_read() {
        let error: TaskError =
            serde_json::from_str(r#"{"error_type":"gpu_on_fire","message":"hot"}"#).unwrap();
        assert_eq!(error.error_type, ErrorType::Unknown);
    }
}
