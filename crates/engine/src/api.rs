//! The requests, results and errors of the engine. Without tensors.

use std::time::{Duration, Instant};

use chat::{Constraint, Message, Sampling, TokenLogprobs};

use crate::injected::InjectedRows;
use crate::text::ChatOptions;
use crate::vision::Visual;

/// A request to generate an answer.
#[derive(Debug, Clone)]
pub struct Request {
    /// The prompt.
    pub input: Input,
    /// The name of the adapter to use, or `None` for the base model alone.
    pub adapter: Option<String>,
    /// The sampling options. A field that is not set changes nothing.
    pub sampling: Sampling,
    /// The most tokens to generate. At least 1.
    pub max_tokens: usize,
    /// Stop strings. The answer ends before the first of them; the stop string is not returned.
    pub stop: Vec<String>,
    /// When to end the generation. The text generated so far is kept.
    pub deadline: Option<Instant>,
    /// The tenant. A common beginning of one tenant's prompts is computed once; nothing is shared between
    /// tenants.
    pub tenant: String,
    /// The preemption priority: when KV memory runs short, the lowest is preempted first.
    pub priority: u8,
    /// The constraint that the answer must satisfy. Generation ends when the answer is complete; one that is
    /// cut off by `max_tokens` is only the beginning of a valid answer. If thinking is enabled, the constraint
    /// applies to the text after `</think>`.
    pub constraint: Option<Constraint>,
    /// The options of the chat template. If there is a constraint that allows no reasoning and thinking is not set,
    /// thinking is disabled.
    pub chat: ChatOptions,
}

impl Request {
    /// Creates a request for greedy decoding of at most `max_tokens` tokens, without other options. The tenant is
    /// the empty string.
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

/// A request to embed one text, for an embedding model.
#[derive(Debug, Clone)]
pub struct EmbedRequest {
    /// The text. [`Input::Text`] is a complete text: the end-of-text token is appended if the model's metadata
    /// asks for it.
    pub input: Input,
    /// The number of dimensions to keep, from the first, or `None` for all. The result is normalised again.
    /// Models trained for this lose little (Matryoshka representations, <https://arxiv.org/abs/2205.13147>).
    pub dimensions: Option<usize>,
    /// When to give up.
    pub deadline: Option<Instant>,
    /// The tenant, as in [`Request::tenant`].
    pub tenant: String,
    /// The preemption priority, as in [`Request::priority`].
    pub priority: u8,
}

/// The embedding of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// The embedding, scaled to length 1. `[dimensions]`
    pub vector: Vec<f32>,
    /// The number of tokens of the text.
    pub prompt_tokens: usize,
    /// The number of these tokens that were found in the prefix cache.
    pub cached_tokens: usize,
}

/// The reason why a text has no embedding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// The request was cancelled, or its deadline passed.
    #[error("the embedding was given up before it was computed")]
    GivenUp(StopReason),
    /// The request was refused, or the computation failed.
    #[error(transparent)]
    Failed(#[from] GenerateError),
}

/// A prompt.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A conversation, which is rendered by the model's chat template.
    Chat(Vec<Message>),
    /// A raw text. The texts of special tokens become these tokens.
    Text(String),
    /// Token ids.
    Tokens(Vec<u32>),
    /// Token ids of which some are placeholders: rows take the place of their embeddings.
    Injected {
        /// The tokens, with a placeholder for each row.
        tokens: Vec<u32>,
        /// The rows, in the order of their tokens.
        rows: Vec<InjectedRows>,
    },
    /// A prompt with images and videos, which take the places of these parts of a conversation, or of the tokens
    /// `<|image_pad|>` and `<|video_pad|>` of a text or of token ids.
    Images {
        /// The prompt: a conversation, a text or token ids.
        prompt: Box<Input>,
        /// The images and videos in the order of their places, as
        /// [`Engine::resize_image`](crate::Engine::resize_image) and
        /// [`Engine::choose_frames`](crate::Engine::choose_frames) make them.
        images: Vec<Visual>,
    },
}

/// An item of a running generation's stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// The next text of the answer.
    Text {
        /// The text of one or more tokens. A character is never split.
        text: String,
        /// The logprobs of the tokens whose text begins in `text`, if requested.
        logprobs: Vec<TokenLogprobs>,
    },
    /// The generation has ended. Nothing follows.
    Finished(Finished),
    /// The generation has failed. Nothing follows.
    Failed(GenerateError),
}

/// The end of a generation.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// The reason why it ended.
    pub reason: StopReason,
    /// The stop string that the answer had, if that is the reason.
    pub stop: Option<String>,
    /// The number of tokens of the prompt.
    pub prompt_tokens: usize,
    /// The number of these tokens that were found in the prefix cache.
    pub cached_tokens: usize,
    /// The number of generated tokens, without the one that ends the turn.
    pub completion_tokens: usize,
    /// The time from admission to the first token.
    pub prefill: Duration,
    /// The time from the first token to the last.
    pub decode: Duration,
}

/// The reason why a generation stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The model ended its turn.
    EndOfTurn,
    /// The answer had a stop string.
    StopString,
    /// The answer reached `max_tokens` or the context length.
    Length,
    /// The caller cancelled or dropped the [`Generation`](crate::Generation).
    Cancelled,
    /// The deadline passed.
    Deadline,
}

/// The reason why a generation was refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    /// The prompt fills the context, so that there is no room for an answer.
    #[error(
        "the prompt has {prompt_tokens} tokens, the model's context holds {context_length}, answer \
         included: shorten the prompt"
    )]
    ContextLengthExceeded {
        /// The number of tokens of the prompt.
        prompt_tokens: usize,
        /// The context length in tokens, prompt and answer together.
        context_length: usize,
    },
    /// The request is invalid for this model (empty input, token out of range, refused by the chat template).
    #[error("{0}")]
    InvalidRequest(String),
    /// The caller gave the request up before the images of its prompt were encoded.
    #[error("the request was given up before its images were encoded")]
    GivenUp,
    /// Memory ran out. It may work with less load.
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    /// The computation failed.
    #[error("the engine failed: {0}")]
    Compute(String),
    /// The device does not respond, or its memory ran out. The engine has stopped.
    #[error("the device is lost: {0}")]
    DeviceLost(String),
    /// The engine has stopped, and accepts no more requests.
    #[error("the engine has stopped")]
    Stopped,
}

/// Facts about the loaded model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// `general.architecture`, such as `qwen3`.
    pub architecture: String,
    /// `general.name`, if the file has one.
    pub name: Option<String>,
    /// The weight format with the most bytes, e.g. `Q4_K`.
    pub quantization: String,
    /// The number of weights.
    pub parameters: u64,
    /// The most tokens of one sequence, prompt and answer together.
    pub context_length: usize,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// The most sequences that run at once.
    pub max_batch: usize,
    /// The dimensions of the embeddings of an embedding model, or `None` for a model that generates text.
    pub embedding_length: Option<usize>,
}
