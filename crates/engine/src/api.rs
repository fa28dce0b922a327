//! What callers say to the engine and hear from it. No tensor appears here.

use std::time::{Duration, Instant};

/// One generation to run.
#[derive(Debug, Clone)]
pub struct Request {
    /// What the model reads.
    pub input: Input,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// At most this many tokens are generated; at least 1.
    pub max_tokens: usize,
    /// Generation ends before the first of these texts; the text itself is not returned.
    pub stop: Vec<String>,
    /// Generation ends here, whatever it has.
    pub deadline: Option<Instant>,
    /// Whose it is. What one tenant's prompts begin with alike is computed once; nothing is ever
    /// shared between tenants.
    pub tenant: String,
    /// Who gives way when memory for keys and values runs short: the lowest first.
    pub priority: u8,
}

/// One text to embed, by an embedding model.
#[derive(Debug, Clone)]
pub struct EmbedRequest {
    /// What the model reads. [`Input::Text`] is taken as a whole text: the model's end-of-text token
    /// follows it where the file asks for that.
    pub input: Input,
    /// Keep this many numbers of the embedding, the first; all if `None`. Models trained for it lose
    /// little (Matryoshka representations).
    pub dimensions: Option<usize>,
    /// The embedding is given up here.
    pub deadline: Option<Instant>,
    /// Whose it is, as in [`Request::tenant`].
    pub tenant: String,
    /// Who gives way when memory runs short, as in [`Request::priority`].
    pub priority: u8,
}

/// The embedding of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// Of length 1. `[dimensions]`
    pub vector: Vec<f32>,
    /// Tokens read.
    pub prompt_tokens: usize,
    /// Those of them that were found computed already.
    pub cached_tokens: usize,
}

/// Why there is no embedding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// It was cancelled, or its deadline passed.
    #[error("the embedding was given up before it was computed")]
    GivenUp(StopReason),
    /// It could not be computed.
    #[error(transparent)]
    Failed(#[from] GenerateError),
}

/// What the model reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Goes through the model's chat template.
    Chat(Vec<Message>),
    /// Tokenized as it stands; special tokens in the text count as such.
    Text(String),
    /// Goes to the model as it is.
    Tokens(Vec<u32>),
}

/// One turn of a conversation, in the words of the chat template.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Message {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// What is said.
    pub content: String,
}

/// How tokens are drawn: temperature, then top_k, then top_p.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// 0 is greedy.
    pub temperature: f32,
    /// Keep the likeliest tokens that together reach this probability; 1 keeps all.
    pub top_p: f32,
    /// Keep this many likeliest tokens.
    pub top_k: Option<usize>,
    /// Same seed and prompt, same answer.
    pub seed: Option<u64>,
}

/// A step of a running generation.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// Text of one or more tokens; never splits a character. May be empty only in tests.
    Text(String),
    /// The end; nothing follows.
    Finished(Finished),
    /// The end; nothing follows.
    Failed(GenerateError),
}

/// How a generation ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// Why.
    pub reason: StopReason,
    /// Tokens read.
    pub prompt_tokens: usize,
    /// Those of them that were found computed already.
    pub cached_tokens: usize,
    /// Tokens generated, the end-of-turn token not counted.
    pub completion_tokens: usize,
    /// From admission to the first token.
    pub prefill: Duration,
    /// From the first token to the last.
    pub decode: Duration,
}

/// Why a generation stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The model ended its turn.
    EndOfTurn,
    /// A stop string was met.
    StopString,
    /// `max_tokens` or the context was used up.
    Length,
    /// The caller cancelled, or dropped the [`Generation`](crate::Generation).
    Cancelled,
    /// The deadline passed.
    Deadline,
}

/// Why a generation could not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    /// The prompt leaves no room for an answer.
    #[error(
        "the prompt has {prompt_tokens} tokens, the model's context holds {context_length}, answer \
         included: shorten the prompt"
    )]
    ContextLengthExceeded {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// What fits.
        context_length: usize,
    },
    /// The request makes no sense to this model (empty input, token out of range, template refusal).
    #[error("{0}")]
    InvalidRequest(String),
    /// Memory ran out; less load may help.
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    /// The computation failed.
    #[error("the engine failed: {0}")]
    Compute(String),
    /// The engine has stopped and takes nothing more.
    #[error("the engine has stopped")]
    Stopped,
}

/// What was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// `general.architecture`: `qwen2`, `qwen2moe`, `qwen3` or `qwen3moe`.
    pub architecture: String,
    /// `general.name`, if the file has one.
    pub name: Option<String>,
    /// The commonest weight format by bytes, e.g. `Q4_K`.
    pub quantization: String,
    /// How many weights.
    pub parameters: u64,
    /// Prompt and answer together, in tokens.
    pub context_length: usize,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// How many sequences run at once.
    pub max_batch: usize,
    /// How many numbers its embeddings have, if it is an embedding model. It writes no text then.
    pub embedding_length: Option<usize>,
}
