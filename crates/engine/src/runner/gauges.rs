//! What the compute thread lets handles see.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

/// What handles may read at any time.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    /// Submitted and not ended.
    pub(super) in_flight: AtomicUsize,
    /// Admitted and not ended.
    pub(super) running: AtomicUsize,
    /// Rounds of the thread's loop so far.
    pub(super) steps: AtomicU64,
    /// Tokens of prompts that were computed so far, again after a preemption included.
    pub(super) computed_prompt_tokens: AtomicU64,
    /// Tokens of prompts that were found in pages so far.
    pub(super) cached_prompt_tokens: AtomicU64,
    /// Times that a sequence was put back so far.
    pub(super) preemptions: AtomicU64,
    /// Set to stop the thread before the next step.
    pub(super) stop: AtomicBool,
    /// Set when the thread takes nothing more.
    pub(super) stopped: AtomicBool,
    /// Why the thread ended by itself, if it did.
    pub(super) halt: OnceLock<Halt>,
}

/// Why no later step can be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Halt {
    /// The device is gone, or its memory ran out.
    DeviceLost(String),
    /// A file of the model was changed since it was opened.
    ModelChanged(String),
}
