//! # protocol: the types that processes exchange
//!
//! Defines the types that gateway, queue and worker share, and nothing else: serde types without I/O and
//! without a framework. Everything on which two processes must agree is here.
//!
//! ## Layout
//!
//! | module      | contents |
//! |-------------|----------|
//! | [`ids`]     | newtypes: [`TaskId`], [`TenantId`], [`WorkerId`], [`ModelId`], [`Attempt`], [`EventSeq`] |
//! | [`time`]    | [`Timestamp`], milliseconds since the Unix epoch on the **broker's** clock |
//! | [`task`]    | [`Task`], a client's request: prompt, [`GenerationParams`], lane, limits |
//! | [`constraint`] | [`Constraint`], on the form of an answer |
//! | [`tools`]   | [`Tool`], a function that the model may call; [`ToolCall`], a call in an answer |
//! | [`state`]   | [`TaskState`] and its legal transitions |
//! | [`outcome`] | [`Outcome`], the single recorded end of a task; [`TaskError`] and its [`ErrorType`]s |
//! | [`logprobs`]| [`Logprobs`], the log probabilities of an answer's tokens |
//! | [`estimate`]| [`Estimate`], the position and the likely wait of a queued task |
//! | [`snapshot`]| [`TaskSnapshot`], a task's current state, with a [`TaskSummary`]; [`Metrics`] derive from it |
//! | [`event`]   | [`Event`], a numbered step in a task's life |
//! | [`worker`]  | [`WorkerReport`], a worker's state and capacity |
//! | [`sampling`] | sampling parameters that a model's authors recommend |
//! | [`record`]  | the versioned envelope of everything stored |
//!
//! ## Data flow
//!
//! ```text
//! client ──JSON──▶ gateway ──Task──▶ queue ──Task──▶ worker ──Outcome──▶ queue ──TaskSnapshot──▶ gateway
//!                                      └────────── Event, Event, Event … ──────────────────────▶ readers
//! ```
//!
//! A state only moves forward: `queued → processing → completed | failed | cancelled`; a retry goes
//! from `processing` to `queued` with the next [`Attempt`].

pub mod constraint;
pub mod estimate;
pub mod event;
pub mod ids;
pub mod logprobs;
mod number;
pub mod outcome;
pub mod record;
pub mod sampling;
pub mod snapshot;
pub mod state;
pub mod task;
pub mod time;
pub mod tools;
pub mod worker;

pub use constraint::Constraint;
pub use estimate::{Estimate, Eta};
pub use event::{AnswerPart, Chunk, Event, EventBody};
pub use ids::{Attempt, EventSeq, InvalidId, ModelId, TaskId, TenantId, WorkerId};
pub use logprobs::{Logprobs, TokenLogprob, TokenLogprobs};
pub use outcome::{Completion, ErrorType, FinishReason, Outcome, TaskError, Usage};
pub use record::RecordError;
pub use sampling::{RecommendedSampling, SamplingField};
pub use snapshot::{Metrics, TaskSnapshot, TaskSummary};
pub use state::TaskState;
pub use task::{AnswerForm, ChatMessage, GenerationParams, Lane, Prompt, Role, Task, Webhook};
pub use time::Timestamp;
pub use tools::{Tool, ToolCall, ToolChoice};
pub use worker::{GpuReport, ModelReport, ModelState, WorkerReport, WorkerStatus};
