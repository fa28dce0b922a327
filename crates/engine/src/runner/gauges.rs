//! Counters that the compute thread shares with handles.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

/// Counters that handles may read at any time.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    /// Sequences submitted and not ended.
    pub(super) in_flight: AtomicUsize,
    /// Sequences admitted and not ended.
    pub(super) running: AtomicUsize,
    /// Iterations of the thread's loop so far.
    pub(super) steps: AtomicU64,
    /// Prompt tokens computed so far, including recomputation after a preemption.
    pub(super) computed_prompt_tokens: AtomicU64,
    /// Prompt tokens found in cached pages so far.
    pub(super) cached_prompt_tokens: AtomicU64,
    /// Preemptions so far.
    pub(super) preemptions: AtomicU64,
    /// Steps so far that computed something.
    pub(super) computed_steps: AtomicU64,
    /// Tokens that they computed.
    pub(super) step_tokens: AtomicU64,
    /// Microseconds that they took.
    pub(super) step_micros: AtomicU64,
    /// Tokens drafted by lookup, and those of them that were accepted.
    pub(super) lookup_drafted: AtomicU64,
    pub(super) lookup_accepted: AtomicU64,
    /// The same of the draft model.
    pub(super) model_drafted: AtomicU64,
    pub(super) model_accepted: AtomicU64,
    /// Set to stop the thread before the next step.
    pub(super) stop: AtomicBool,
    /// Set when the thread takes no more jobs.
    pub(super) stopped: AtomicBool,
    /// Why the thread ended by itself, if it did.
    pub(super) halt: OnceLock<HaltReason>,
}

/// The reason why results can no longer be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HaltReason {
    /// The device is gone, or its memory ran out.
    DeviceLost(String),
    /// A file of the model was changed since it was opened.
    ModelChanged(String),
}
