//! Outcomes: how a task ended.

use std::fmt;

use chat::{Embedding, FinishReason, Logprobs, Sampling, ToolCall, Usage};
use serde::{Deserialize, Serialize};

use crate::{CacheStatus, SkillAnswer, TaskState};

/// How a task ended. Exactly one is recorded per task; the broker refuses a second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
#[allow(clippy::large_enum_variant)] // most outcomes are completions
pub enum Outcome {
    /// The model answered.
    Completed(Completion),
    /// The task failed.
    Failed(TaskError),
    /// The task was cancelled by its owner.
    Cancelled {
        /// The tokens until then; zero if no worker ran it.
        #[serde(default, skip_serializing_if = "Usage::is_zero")]
        usage: Usage,
    },
}

impl Outcome {
    /// A cancellation of a task that no worker ran.
    pub const CANCELLED: Self = Self::Cancelled { usage: Usage::NONE };

    /// Returns the terminal state of a task with this outcome.
    pub const fn state(&self) -> TaskState {
        match self {
            Self::Completed(_) => TaskState::Completed,
            Self::Failed(_) => TaskState::Failed,
            Self::Cancelled { .. } => TaskState::Cancelled,
        }
    }

    /// Returns the tokens of prompt and answer, as far as the worker of the last attempt knew them.
    pub fn usage(&self) -> Usage {
        match self {
            Self::Completed(completion) => completion.usage,
            Self::Failed(error) => error.usage,
            Self::Cancelled { usage } => *usage,
        }
    }

    /// Returns whether something was computed. If not, as for [`TaskKind::Count`](crate::TaskKind::Count) or an answer
    /// from the result cache, its processing time says nothing about other tasks.
    pub fn is_computed(&self) -> bool {
        let Self::Completed(completion) = self else { return true };
        let Completion { first, usage, embeddings, .. } = completion;
        let has_answer =
            usage.completion_tokens > 0 || !first.text.is_empty() || !embeddings.is_empty();
        has_answer && self.cache() != Some(CacheStatus::Hit)
    }

    /// Returns whether the answer came from the result cache; `None` if it was not searched.
    pub fn cache(&self) -> Option<CacheStatus> {
        match self {
            Self::Completed(completion) => completion.cache,
            Self::Failed(_) | Self::Cancelled { .. } => None,
        }
    }

    /// Sets the tokens of prompt and answer.
    pub fn with_usage(mut self, usage: Usage) -> Self {
        match &mut self {
            Self::Completed(completion) => completion.usage = usage,
            Self::Failed(error) => error.usage = usage,
            Self::Cancelled { usage: cancelled } => *cancelled = usage,
        }
        self
    }
}

/// A model's answers, or the embeddings of a task's inputs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// The first answer; empty if the task asked for embeddings.
    #[serde(flatten)]
    pub first: Choice,
    /// The other answers, if the task asked for several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<Choice>,
    /// Tokens read and written: those of the prompt once, those of all answers together.
    pub usage: Usage,
    /// The values that the model recommends and that were used because the request set none.
    #[serde(default, skip_serializing_if = "Sampling::is_empty")]
    pub sampling_defaults: Sampling,
    /// The embeddings of the inputs, in their order; empty unless the task asked for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub embeddings: Vec<Embedding>,
    /// What the task's skill made of the first answer, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skill: Option<SkillAnswer>,
    /// Whether the answer came from the result cache; `None` if it was not searched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheStatus>,
}

/// An answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The generated text.
    pub text: String,
    /// The model's reasoning before the answer, if the answer was split into parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// The functions that the model calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Why generation ended.
    pub finish_reason: FinishReason,
    /// The stop string that ended it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_sequence: Option<String>,
    /// Log probabilities of the tokens, if requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Logprobs>,
}

impl Completion {
    /// Creates an answer of plain text that the model ended itself.
    pub fn of_text(text: impl Into<String>, usage: Usage) -> Self {
        let first = Choice { text: text.into(), ..Choice::default() };
        Self { first, usage, ..Self::default() }
    }

    /// Returns all answers, in the order of their indexes.
    pub fn choices(&self) -> impl Iterator<Item = &Choice> {
        std::iter::once(&self.first).chain(&self.further)
    }
}

/// Why a task failed: `message` for people, `error_type` for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct TaskError {
    /// The kind of failure.
    pub error_type: ErrorType,
    /// The message: what was wrong, what is allowed, what to do.
    pub message: String,
    /// The field of the request that is wrong, if the error is about one: `model`, `input` or `dimensions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
    /// The chain of causes, outermost first. Written to `errors.log`, not shown to clients.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
    /// The tokens of the attempt until it failed.
    #[serde(default, skip_serializing_if = "Usage::is_zero")]
    pub usage: Usage,
}

impl TaskError {
    /// Creates an error without causes.
    pub fn new(error_type: ErrorType, message: impl Into<String>) -> Self {
        Self {
            error_type,
            message: message.into(),
            param: None,
            chain: Vec::new(),
            usage: Usage::default(),
        }
    }

    /// Names the field of the request that is wrong.
    pub fn about(self, param: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..self }
    }

    /// Adds `error` and its sources as causes.
    pub fn caused_by(mut self, error: &dyn std::error::Error) -> Self {
        let mut next = Some(error);
        while let Some(cause) = next {
            self.chain.push(cause.to_string());
            next = cause.source();
        }
        self
    }
}

/// The kinds of failure. Their names are part of the API (`error_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorType {
    /// The prompt and one token of the answer do not fit into the model's context. Never retried.
    ContextLengthExceeded,
    /// The request cannot be executed, e.g. the chat template refuses it. Never retried.
    InvalidRequest,
    /// `TASK_TIME_LIMIT` was exceeded. Never retried.
    TimeLimitExceeded,
    /// The task was not started by its deadline. Never retried.
    Expired,
    /// The worker ran out of memory. Retried.
    OutOfMemory,
    /// The engine failed, perhaps temporarily. Retried.
    EngineError,
    /// Workers died while holding the task until its attempts were used up. Not retried.
    WorkerLost,
    /// The stored task can't be read by this version. Never retried.
    UnreadableRecord,
    /// A kind that a newer version recorded.
    #[serde(other)]
    Unknown,
}

impl ErrorType {
    /// Whether another attempt may succeed. Errors caused by the request are never transient.
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::OutOfMemory | Self::EngineError)
    }

    /// Whether a task that failed so becomes a dead letter, which an operator may replay: its
    /// attempts are used up, or it can't be read. For the other kinds the message tells the client
    /// what to change.
    pub const fn is_dead_letter(self) -> bool {
        matches!(
            self,
            Self::OutOfMemory | Self::EngineError | Self::WorkerLost | Self::UnreadableRecord
        )
    }

    /// Returns the name used in the API and in logs.
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
    fn an_outcome_serializes_with_its_state() {
        let outcome = Outcome::Failed(TaskError::new(ErrorType::OutOfMemory, "no room"));
        let json = serde_json::to_value(&outcome).unwrap();
        assert_eq!(json["state"], "failed");
        assert_eq!(json["error_type"], "out_of_memory");
        assert_eq!(serde_json::from_value::<Outcome>(json).unwrap(), outcome);
    }

    #[test]
    fn failures_and_cancellations_keep_their_usage() {
        let usage =
            Usage { prompt_tokens: 5, completion_tokens: 7, cached_tokens: 3, ..Usage::default() };
        let late = Outcome::Failed(TaskError::new(ErrorType::TimeLimitExceeded, "late"));
        for outcome in [late.with_usage(usage), Outcome::CANCELLED.with_usage(usage)] {
            let text = serde_json::to_string(&outcome).unwrap();
            let read: Outcome = serde_json::from_str(&text).unwrap();
            assert_eq!((&read, read.usage()), (&outcome, usage), "{text}");
        }
        // Records without it.
        let cancelled = r#"{"state":"cancelled"}"#;
        assert_eq!(serde_json::from_str::<Outcome>(cancelled).unwrap(), Outcome::CANCELLED);
        assert_eq!(serde_json::to_string(&Outcome::CANCELLED).unwrap(), cancelled);
    }

    #[test]
    fn an_answer_has_logprobs_only_if_requested() {
        let json = serde_json::json!({
            "state": "completed", "text": "a", "finish_reason": "stop",
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "cached_tokens": 0}
        });
        let mut outcome: Outcome = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(&outcome).unwrap(), json);
        if let Outcome::Completed(completion) = &mut outcome {
            let drawn = crate::TokenLogprob::new(b"a".into(), -0.1);
            let token = crate::TokenLogprobs { drawn, top_logprobs: vec![] };
            completion.first.logprobs = Some(Logprobs { content: vec![token] });
        }
        let text = serde_json::to_string(&outcome).unwrap();
        assert_eq!(serde_json::from_str::<Outcome>(&text).unwrap(), outcome, "{text}");
        // A second answer, with what has to survive serde's buffers.
        if let Outcome::Completed(completion) = &mut outcome {
            let arguments = serde_json::json!({"a": 12_345_678_901_234_567_890_u64, "b": 1.10});
            let call = ToolCall::Function { id: "call_1".into(), name: "f".into(), arguments };
            let second = Choice { tool_calls: vec![call], ..completion.first.clone() };
            completion.further.push(second);
            completion.embeddings.push(Embedding(vec![0.1]));
            completion.sampling_defaults.temperature = Some(0.6);
            // Its numbers too must survive serde's buffers.
            completion.skill = Some(SkillAnswer {
                name: "ocr".into(),
                structured: Some(serde_json::json!([{"box": [1.5, 2, 3, 4], "text": "a"}])),
                annotated_images: vec![crate::BlobId::new()],
                warnings: vec!["repaired".into()],
            });
        }
        let text = serde_json::to_string(&outcome).unwrap();
        assert_eq!(serde_json::from_str::<Outcome>(&text).unwrap(), outcome, "{text}");
    }

    #[test]
    fn an_error_names_a_field_only_if_it_is_about_one() {
        let error = TaskError::new(ErrorType::InvalidRequest, "no");
        let text = serde_json::to_string(&error).unwrap();
        assert_eq!(text, r#"{"error_type":"invalid_request","message":"no"}"#);
        let error = error.about("model");
        let text = serde_json::to_string(&error).unwrap();
        assert!(text.contains(r#""param":"model""#), "{text}");
        assert_eq!(serde_json::from_str::<TaskError>(&text).unwrap(), error);
    }

    #[test]
    fn an_unknown_error_type_is_still_read() {
        let error: TaskError =
            serde_json::from_str(r#"{"error_type":"gpu_on_fire","message":"hot"}"#).unwrap();
        assert_eq!(error.error_type, ErrorType::Unknown);
    }
}
