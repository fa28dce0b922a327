//! What a client asked for, validated, as it lies in the queue.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Constraint, ModelId, SamplingField, TaskId, TenantId, Tool, ToolChoice};

/// The unit of work. Immutable once submitted: what changes lives in the broker's own fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its name.
    pub id: TaskId,
    /// Who may see it.
    pub tenant: TenantId,
    /// Which model shall answer.
    pub model: ModelId,
    /// How urgent it is.
    #[serde(default)]
    pub lane: Lane,
    /// What to answer.
    pub prompt: Prompt,
    /// How to answer.
    pub params: GenerationParams,
    /// What the answer consists of.
    #[serde(default, skip_serializing_if = "AnswerForm::is_plain")]
    pub form: AnswerForm,
    /// How long one attempt may compute, in seconds (`TASK_TIME_LIMIT`).
    pub time_limit_s: u32,
    /// How long the outcome is kept once recorded, in seconds (`RESULT_TTL`).
    pub result_ttl_s: u32,
    /// After how many failed attempts the task fails (`MAX_ATTEMPTS`).
    pub max_attempts: u32,
    /// The client's own label for its end user; kept, never interpreted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The client's own notes; kept and given back, never interpreted. The gateway bounds them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Whom to tell of the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
}

/// What an answer consists of: text, if nothing else is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerForm {
    /// What it must look like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<Constraint>,
    /// Functions that the model may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    /// Whether it calls one.
    #[serde(default, skip_serializing_if = "ToolChoice::is_auto")]
    pub tool_choice: ToolChoice,
    /// Asks a model that can think to do so or not; none leaves it to the model's template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_thinking: Option<bool>,
}

impl AnswerForm {
    /// Whether nothing is said.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the answer is split into reasoning, text and calls: for those who asked for any of it.
    pub fn has_parts(&self) -> bool {
        let has_tools = !self.tools.is_empty() || self.tool_choice == ToolChoice::None;
        self.enable_thinking.is_some() || has_tools
    }
}

/// Where a task's end is to be told, by a signed POST.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// An `http` or `https` URL, checked by the gateway.
    pub url: String,
}

/// What the model reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    /// Messages that go through the model's chat template.
    Chat(Vec<ChatMessage>),
    /// Text that goes to the model untouched.
    Raw(String),
}

impl Prompt {
    /// One user turn, which is what `POST /generate` means by a prompt.
    pub fn user(text: impl Into<String>) -> Self {
        Self::Chat(vec![ChatMessage { role: Role::User, content: text.into() }])
    }
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// Who speaks in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The operator's instruction.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// The result of a tool call.
    Tool,
}

impl Role {
    /// The name chat templates know it by.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// How to answer. Ranges are checked by the gateway before a task exists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerationParams {
    /// At most this many tokens are generated; at least 1.
    pub max_tokens: u32,
    /// 0 is greedy; larger is more random. 0 to 2.
    pub temperature: f32,
    /// Only the likeliest tokens that together reach this probability are drawn from. Above 0, to 1.
    pub top_p: f32,
    /// Only this many likeliest tokens are drawn from; none means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// Only tokens with at least this share of the likeliest one's probability are drawn from. 0 to 1;
    /// 0 means all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_p: f32,
    /// The logits of tokens that the prompt or the answer has are divided by it where positive, and
    /// multiplied where not. Above 0, to 2; 1 changes nothing.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub repetition_penalty: f32,
    /// Taken from the logits of tokens that the answer has. -2 to 2.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub presence_penalty: f32,
    /// Taken from the logits of tokens that the answer has, once for each time. -2 to 2.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub frequency_penalty: f32,
    /// Added to the logits of these tokens, named by their numbers. -100 to 100.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub logit_bias: BTreeMap<u32, f32>,
    /// Tell how likely each token of the answer was, and this many of the likeliest at its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<u32>,
    /// Same seed, same prompt, same answer; none draws a fresh one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Generation ends before the first of these texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// Fields that the request does not set. Their values above are what stands in when the model's makers
    /// recommend none either.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unset: BTreeSet<SamplingField>,
}

impl GenerationParams {
    /// Always the likeliest token, at most so many, and nothing else.
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

/// How urgent a task is. Lanes are served by weight, so none starves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Somebody waits at the screen.
    High,
    /// The default.
    #[default]
    Normal,
    /// Whenever there is room.
    Low,
    /// Bulk work.
    Batch,
}

impl Lane {
    /// All lanes, most urgent first.
    pub const ALL: [Self; 4] = [Self::High, Self::Normal, Self::Low, Self::Batch];

    /// The name on the wire and in keys.
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
        // and what says nothing new can be read by an older one
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
