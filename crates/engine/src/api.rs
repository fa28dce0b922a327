//! What callers say to the engine and hear from it. No tensor appears here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use grammar::Constraint;

use crate::text::ChatOptions;

/// One generation to run.
#[derive(Debug, Clone)]
pub struct Request {
    /// What the model reads.
    pub input: Input,
    /// The name of the adapter that answers beside the base; the base alone if `None`.
    pub adapter: Option<String>,
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
    /// What the answer must look like. It then ends where that is whole; an answer that `max_tokens`
    /// cuts off is only the beginning of one. Where thinking is asked for, the model
    /// thinks first, and what follows `</think>` is what must look so.
    pub constraint: Option<Constraint>,
    /// What the chat template is given beside the messages. Where an answer is constrained and nothing
    /// is said of thinking, the model is asked not to.
    pub chat: ChatOptions,
}

impl Request {
    /// The likeliest answer, of at most so many tokens, and nothing else asked for. Its tenant is the one
    /// without a name.
    pub fn greedy(input: Input, max_tokens: usize) -> Self {
        Self {
            input,
            adapter: None,
            sampling: Sampling::greedy(),
            max_tokens,
            stop: Vec::new(),
            deadline: None,
            tenant: String::new(),
            priority: 0,
            constraint: None,
            chat: ChatOptions::default(),
        }
    }
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

/// How tokens are drawn. In this order: `logit_bias` is added to the model's logits, penalties change
/// them, what the caller's grammar forbids is left out, then temperature, top_k, top_p and min_p.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// 0 is greedy: the likeliest token, after bias and penalties.
    pub temperature: f32,
    /// Keep the likeliest tokens that together reach this probability; 1 keeps all.
    pub top_p: f32,
    /// Keep this many likeliest tokens.
    pub top_k: Option<usize>,
    /// Keep the tokens that have at least this share of the likeliest one's probability; 0 keeps all.
    pub min_p: f32,
    /// The logits of tokens that the prompt or the answer has are divided by it where they are
    /// positive, and multiplied where not. 1 changes nothing; above 0.
    pub repetition_penalty: f32,
    /// Taken from the logits of tokens that the answer has, once. 0 changes nothing.
    pub presence_penalty: f32,
    /// Taken from the logits of tokens that the answer has, once for each time. 0 changes nothing.
    pub frequency_penalty: f32,
    /// Added to the logits of these tokens.
    pub logit_bias: BTreeMap<u32, f32>,
    /// Same seed and prompt, same answer.
    pub seed: Option<u64>,
    /// Tell how likely each token was, and this many of the likeliest at its place, at most
    /// [`Sampling::MAX_TOP_LOGPROBS`].
    pub logprobs: Option<usize>,
}

impl Sampling {
    /// The most alternatives that may be asked for.
    pub const MAX_TOP_LOGPROBS: usize = 20;

    /// Always the likeliest token.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }
}

/// Tokens as likely as the model has them, from a fresh seed.
impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_p: 1.0,
            top_k: None,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: BTreeMap::new(),
            seed: None,
            logprobs: None,
        }
    }
}

/// A step of a running generation.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// More of the answer.
    Text {
        /// Of one or more tokens; never splits a character.
        text: String,
        /// Of the tokens whose text begins in `text`, if they were asked for.
        logprobs: Vec<TokenLogprobs>,
    },
    /// The end; nothing follows.
    Finished(Finished),
    /// The end; nothing follows.
    Failed(GenerateError),
}

/// How likely a token of the answer was, and what else was likely at its place.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprobs {
    /// The token of the answer.
    pub drawn: TokenLogprob,
    /// The likeliest tokens, the likeliest first; as many as were asked for.
    pub top: Vec<TokenLogprob>,
}

/// How likely a token was.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprob {
    /// Its number.
    pub token: u32,
    /// What it spells: maybe part of a character. A control token has its name here, though it adds
    /// nothing to the text.
    pub bytes: Vec<u8>,
    /// The natural logarithm of its probability in the model's own distribution, the softmax of the
    /// logits before bias, penalties, temperature and all else.
    pub logprob: f32,
}

impl TokenLogprob {
    /// What it spells, with U+FFFD for what is no whole character.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
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
    /// The device that computed is gone, or its memory ran out; the engine has stopped with it.
    #[error("the device is lost: {0}")]
    DeviceLost(String),
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
