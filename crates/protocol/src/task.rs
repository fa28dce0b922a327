//! A client's request, validated, as the queue stores it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Constraint, ModelId, SamplingField, TaskId, TenantId, Tool, ToolChoice};

/// The unit of work. Immutable once submitted: state that changes is in the broker's own fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The task's id.
    pub id: TaskId,
    /// The tenant that may access it.
    pub tenant: TenantId,
    /// The model that runs it.
    pub model: ModelId,
    /// Its priority lane.
    #[serde(default)]
    pub lane: Lane,
    /// The model's input.
    pub prompt: Prompt,
    /// The sampling parameters and limits.
    pub params: GenerationParams,
    /// The form of the answer: constraint, tools, thinking.
    #[serde(default, skip_serializing_if = "AnswerForm::is_plain")]
    pub form: AnswerForm,
    /// The maximum computing time of one attempt, in seconds (`TASK_TIME_LIMIT`).
    pub time_limit_s: u32,
    /// How long the outcome is kept after it was recorded, in seconds (`RESULT_TTL`).
    pub result_ttl_s: u32,
    /// The number of failed attempts after which the task fails (`MAX_ATTEMPTS`).
    pub max_attempts: u32,
    /// The client's label for its end user; stored, never interpreted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The client's metadata; stored and returned, never interpreted. The gateway limits its size.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The webhook to call at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
}

/// The form of an answer; plain text by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerForm {
    /// The constraint that the answer must satisfy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<Constraint>,
    /// Functions that the model may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    /// Whether the model must, may or must not call a function.
    #[serde(default, skip_serializing_if = "ToolChoice::is_auto")]
    pub tool_choice: ToolChoice,
    /// Turns thinking on or off, if the model supports it; `None` leaves it to the chat template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_thinking: Option<bool>,
}

impl AnswerForm {
    /// Returns whether nothing is set.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether the answer is split into reasoning, text and calls: if the request set any of these.
    pub fn has_parts(&self) -> bool {
        let has_tools = !self.tools.is_empty() || self.tool_choice == ToolChoice::None;
        self.enable_thinking.is_some() || has_tools
    }
}

/// The receiver of a signed POST at the task's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// An `http` or `https` URL, checked by the gateway.
    pub url: String,
}

/// The model's input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    /// Messages that are rendered with the model's chat template.
    Chat(Vec<ChatMessage>),
    /// Text that is passed to the model unchanged.
    Raw(String),
}

impl Prompt {
    /// Returns a prompt with one user turn, as `POST /generate` uses it.
    pub fn user(text: impl Into<String>) -> Self {
        Self::Chat(vec![ChatMessage { role: Role::User, content: text.into() }])
    }
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// The speaker.
    pub role: Role,
    /// The text.
    pub content: String,
}

/// The speaker of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The operator's instructions.
    System,
    /// The user.
    User,
    /// The model.
    Assistant,
    /// The result of a tool call.
    Tool,
}

impl Role {
    /// Returns the name that chat templates use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// Sampling parameters and limits. The gateway checks their ranges before it creates a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerationParams {
    /// The maximum number of generated tokens; at least 1.
    pub max_tokens: u32,
    /// The temperature: 0 is greedy, larger is more random. 0 to 2.
    pub temperature: f32,
    /// Samples only from the most likely tokens that together reach this probability. Above 0, to 1.
    pub top_p: f32,
    /// Samples only from this many most likely tokens; `None` means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// Samples only from tokens with at least this fraction of the most likely token's probability.
    /// 0 to 1; 0 means all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_p: f32,
    /// Divides positive logits of tokens in the prompt or the answer by this, and multiplies negative ones
    /// by it. Above 0, to 2; 1 changes nothing.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub repetition_penalty: f32,
    /// Subtracted from the logits of tokens in the answer. -2 to 2.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub presence_penalty: f32,
    /// Subtracted from the logits of tokens in the answer, once per occurrence. -2 to 2.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub frequency_penalty: f32,
    /// Added to the logits of these tokens, by token id. -100 to 100.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub logit_bias: BTreeMap<u32, f32>,
    /// Returns the log probability of each token of the answer, and of this many most likely alternatives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<u32>,
    /// The seed: the same seed and prompt give the same answer. `None` picks a random one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Texts that stop generation; the answer ends before the first one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// Fields that the request does not set. Their values above are the fallback if the model's
    /// authors recommend none either.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unset: BTreeSet<SamplingField>,
}

impl GenerationParams {
    /// Returns parameters for greedy decoding with a maximum number of tokens and no other settings.
    pub fn greedy(max_tokens: u32) -> Self {
        Self {
            max_tokens,
            temperature: 0.0,
            top_p: 1.0,
            top_k: None,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: BTreeMap::new(),
            logprobs: None,
            seed: None,
            stop: Vec::new(),
            unset: BTreeSet::new(),
        }
    }
}

fn one() -> f32 {
    1.0
}

fn is_one(x: &f32) -> bool {
    *x == 1.0
}

fn is_zero(x: &f32) -> bool {
    *x == 0.0
}

/// A task's priority. Lanes are served by weight, so none starves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Interactive: a user waits for the answer.
    High,
    /// The default.
    #[default]
    Normal,
    /// Runs when there is capacity.
    Low,
    /// Bulk work.
    Batch,
}

impl Lane {
    /// All lanes, most urgent first.
    pub const ALL: [Self; 4] = [Self::High, Self::Normal, Self::Low, Self::Batch];

    /// Returns the name on the wire and in keys.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
            Self::Batch => "batch",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn params_that_an_older_version_queued_are_still_read() {
        let old =
            r#"{"max_tokens":5,"temperature":0.5,"top_p":0.5,"top_k":3,"seed":1,"stop":["x"]}"#;
        let params: GenerationParams = serde_json::from_str(old).unwrap();
        let expected = GenerationParams {
            temperature: 0.5,
            top_p: 0.5,
            top_k: Some(3),
            seed: Some(1),
            stop: vec!["x".into()],
            ..GenerationParams::greedy(5)
        };
        assert_eq!(params, expected);
        // and an older version can read it if no new field is set
        let (new, old): (serde_json::Value, serde_json::Value) =
            (serde_json::to_value(&params).unwrap(), serde_json::from_str(old).unwrap());
        assert_eq!(new, old);
    }

    #[test]
    fn all_params_travel() {
        let params = GenerationParams {
            min_p: 0.05,
            repetition_penalty: 1.1,
            presence_penalty: -0.5,
            frequency_penalty: 0.25,
            logit_bias: BTreeMap::from([(7, -100.0), (151_643, 2.5)]),
            logprobs: Some(0),
            unset: BTreeSet::from([SamplingField::TopK, SamplingField::Temperature]),
            ..GenerationParams::greedy(5)
        };
        let text = serde_json::to_string(&params).unwrap();
        assert!(text.contains(r#""logit_bias":{"7":-100.0,"151643":2.5}"#), "{text}");
        assert!(text.contains(r#""unset":["temperature","top_k"]"#), "{text}");
        assert_eq!(serde_json::from_str::<GenerationParams>(&text).unwrap(), params);
    }
}
