//! # protocol: what travels
//!
//! The words that gateway, queue and worker share, and nothing else: serde types without I/O and
//! without a framework. If two processes must agree on it, it stands here.
//!
//! ## Layout
//!
//! | module      | what it holds |
//! |-------------|---------------|
//! | [`ids`]     | newtypes: [`TaskId`], [`TenantId`], [`WorkerId`], [`ModelId`], [`Attempt`], [`EventSeq`] |
//! | [`time`]    | [`Timestamp`], milliseconds since the Unix epoch on the **broker's** clock |
//! | [`task`]    | [`Task`], what a client asked for: prompt, [`GenerationParams`], lane, limits |
//! | [`constraint`] | [`Constraint`], what an answer must look like |
//! | [`tools`]   | [`Tool`], a function that the model may call; [`ToolCall`], a call that it made |
//! | [`state`]   | [`TaskState`] and which moves are legal |
//! | [`outcome`] | [`Outcome`], the one recorded end of a task; [`TaskError`] and its [`ErrorType`]s |
//! | [`logprobs`]| [`Logprobs`], how likely the tokens of an answer were |
//! | [`estimate`]| [`Estimate`], how long a queued task is likely to wait |
//! | [`snapshot`]| [`TaskSnapshot`], what the broker knows of a task now, with a [`TaskSummary`]; [`Metrics`] derive from it |
//! | [`event`]   | [`Event`], a numbered step in a task's life |
//! | [`worker`]  | [`WorkerReport`], what a worker says of itself |
//! | [`sampling`] | what a model's makers recommend for drawing tokens |
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
//! `processing → queued` with the next [`Attempt`].

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
