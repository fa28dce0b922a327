//! # chat: the vocabulary of requests and answers
//!
//! Defines once what a request asks and what an answer consists of. Gateway, queue, worker, engine and command
//! line use these types, so a field is spelled in one place. Only serde types: no I/O, no framework.
//!
//! ## Layout
//!
//! | module         | contents |
//! |----------------|----------|
//! | [`model`]      | [`ModelId`], the public name of a model |
//! | [`message`]    | [`Message`], one turn of a conversation: a [`Role`] and its [`Part`]s |
//! | [`tool`]       | [`Tool`], a function that the model may call; [`ToolChoice`]; [`ToolCall`], a call in an answer |
//! | [`constraint`] | [`Constraint`], the form that an answer must have |
//! | [`sampling`]   | [`Sampling`], and the table of its [`fields`](Sampling::FIELDS) |
//! | [`logprobs`]   | [`Logprobs`], the log probabilities of an answer's tokens |
//! | [`embedding`]  | [`Embedding`], the embedding of a text |
//! | [`usage`]      | [`Usage`], the tokens of prompt and answer; [`FinishReason`] |
//!
//! ## Data flow
//!
//! ```text
//!  gateway: JSON ─▶ Message, Tool, Constraint, Sampling ─▶ queue ─▶ worker ─▶ engine
//!                                                                              │
//!  gateway: JSON ◀─ Part, Logprobs, Usage, FinishReason ◀─ queue ◀─ worker ◀───┘
//! ```

pub mod constraint;
pub mod embedding;
pub mod logprobs;
pub mod message;
pub mod model;
mod number;
pub mod sampling;
pub mod tool;
pub mod usage;

pub use constraint::Constraint;
pub use embedding::Embedding;
pub use logprobs::{Logprobs, TokenLogprob, TokenLogprobs};
pub use message::{Message, Part, Role};
pub use model::ModelId;
pub use sampling::{Number, Range, Sampling, SamplingField};
pub use tool::{Tool, ToolCall, ToolChoice};
pub use usage::{FinishReason, Usage};
