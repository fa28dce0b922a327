//! What a client asked for, validated, as it lies in the queue.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Constraint, ModelId, TaskId, TenantId, Tool, ToolChoice};

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

    /// Whether reasoning and calls are told apart from the text: only for those who asked for either.
    pub fn has_parts(&self) -> bool {
        self.enable_thinking.is_some() || !self.tools.is_empty()
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
    /// Same seed, same prompt, same answer; none draws a fresh one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Generation ends before the first of these texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
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
