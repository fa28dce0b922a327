//! # protocol: the types that processes exchange
//!
//! Defines the types that gateway, queue and worker share, and nothing else: serde types without I/O and
//! without a framework. Everything on which two processes must agree is here.
//!
//! What a request asks and what an answer consists of is spelled in the crate `chat`, which this one re-exports.
//!
//! ## Layout
//!
//! | module      | contents |
//! |-------------|----------|
//! | [`ids`]     | newtypes: [`TaskId`], [`BlobId`], [`BatchId`], [`TenantId`], [`WorkerId`], [`Attempt`], [`EventSeq`] |
//! | [`key`]     | [`ApiKey`], a managed key with its rights and limits; [`UsageRow`], what a key used |
//! | [`day`]     | [`Day`], a day of the calendar (UTC), by which use is counted |
//! | [`time`]    | [`Timestamp`], milliseconds since the Unix epoch on the **broker's** clock |
//! | [`task`]    | [`Task`], a client's request: prompt, sampling, lane, limits |
//! | [`state`]   | [`TaskState`] and its legal transitions |
//! | [`outcome`] | [`Outcome`], the single recorded end of a task; [`TaskError`] and its [`ErrorType`]s |
//! | [`reuse`]   | [`Reuse`], whether an answer may come from the result cache, and [`CacheStatus`], whether it did |
//! | [`estimate`]| [`Estimate`], the position and the likely wait of a queued task |
//! | [`snapshot`]| [`TaskSnapshot`], a task's current state, with a [`TaskSummary`]; [`Metrics`] derive from it |
//! | [`event`]   | [`Event`], a numbered step in a task's life |
//! | [`skill`]   | [`SkillUse`], how an answer is read, and [`SkillAnswer`], what comes of it |
//! | [`trace`]   | [`TraceContext`], a task's place in a distributed trace |
//! | [`worker`]  | [`WorkerReport`], a worker's state and capacity |
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

pub mod day;
pub mod estimate;
pub mod event;
pub mod ids;
pub mod key;
pub mod outcome;
pub mod record;
pub mod reuse;
pub mod skill;
pub mod snapshot;
pub mod state;
pub mod task;
pub mod time;
pub mod trace;
pub mod worker;

pub use chat::{
    Constraint, Embedding, FinishReason, Logprobs, Message, ModelId, Number, Part, Range, Role,
    Sampling, SamplingField, TokenLogprob, TokenLogprobs, Tool, ToolCall, ToolChoice, Usage,
};
pub use day::{Day, InvalidDay};
pub use estimate::{Estimate, Eta};
pub use event::{Chunk, Event, EventBody};
pub use ids::{
    Attempt, BatchId, BlobId, EventSeq, InvalidId, TaskId, TenantId, WebhookId, WorkerId,
};
pub use key::{ApiKey, KeyId, KeyLimits, Scope, UsageCounts, UsageRow};
pub use outcome::{Choice, Completion, ErrorType, Outcome, TaskError};
pub use record::RecordError;
pub use reuse::{CacheStatus, Reuse};
pub use skill::{SkillAnswer, SkillOutput, SkillUse, VisionFamily};
pub use snapshot::{Metrics, TaskSnapshot, TaskSummary};
pub use state::TaskState;
pub use task::{
    AnswerForm, Lane, PixelLimits, Prompt, Task, TaskKind, VisualKind, Webhook, WebhookForm,
};
pub use time::Timestamp;
pub use trace::{InvalidTraceparent, SpanId, TraceContext, TraceId};
pub use worker::{GpuReport, ModelReport, ModelState, WorkerReport, WorkerStatus};
