//! Converts conversations to tokens, and tokens back to text.
//!
//! ```text
//! messages ─ ChatTemplate ─▶ Prompt ─ Tokenizer ─▶ tokens ─▶ (model) ─▶ token
//!                                                                        │
//!                text that is sent ◀─ StopMatcher ◀─ Detokenizer ◀───────┘
//! ```
//!
//! - [`vocabulary`]: the tokens, merges and token kinds of a GGUF file, checked
//! - [`tokenizer`]: byte-level BPE, with special tokens found first
//! - [`pre_tokenizer`]: the split into words before BPE
//! - [`detokenizer`]: tokens to text, one at a time, never splitting a character
//! - [`stop`]: cuts a stream of text before the first stop string
//! - [`chat`]: the model's own Jinja template; marks where a message's text must stay text

pub(crate) mod byte_level;
pub mod chat;
pub mod detokenizer;
pub mod pre_tokenizer;
mod prompt;
mod special;
pub mod stop;
pub mod tokenizer;
pub mod vocabulary;

pub use self::chat::answer::{AnswerFormat, AnswerParser};
pub(crate) use self::chat::answer::{THINK, THINK_END};
pub use self::chat::{
    AnswerStart, ChatError, ChatOptions, ChatTemplate, TemplateValue, template_message,
    template_value,
};
pub(crate) use self::chat::{IMAGE_PAD, ReasoningTokens};
pub use detokenizer::Detokenizer;
pub use prompt::Prompt;
pub use stop::{Emitted, StopMatcher};
pub use tokenizer::{Tokenizer, TokenizerError};
pub use vocabulary::{TokenKind, Vocabulary};
