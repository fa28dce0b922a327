//! Counters that the compute thread shares with handles.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::speculate::DraftTotals;

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

/// Totals of an engine since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineTotals {
    /// Prompt tokens computed, including recomputation after preemptions.
    pub computed_prompt_tokens: u64,
    /// Prompt tokens found in cached pages.
    pub cached_prompt_tokens: u64,
    /// The number of preemptions: generations that had to wait again because KV memory was used up.
    pub preemptions: u64,
    /// The steps that computed something.
    pub computed_steps: u64,
    /// The tokens that these steps computed, of prompts and answers.
    pub step_tokens: u64,
    /// The time that they took, with sampling and drafting.
    pub step_time: Duration,
    /// Tokens drafted by lookup.
    pub lookup_drafts: DraftTotals,
    /// Tokens drafted by the draft model.
    pub model_drafts: DraftTotals,
}

impl Gauges {
    /// Returns the totals so far.
    pub(super) fn totals(&self) -> EngineTotals {
        let read = |total: &AtomicU64| total.load(Ordering::Relaxed);
        EngineTotals {
            computed_prompt_tokens: read(&self.computed_prompt_tokens),
            cached_prompt_tokens: read(&self.cached_prompt_tokens),
            preemptions: read(&self.preemptions),
            computed_steps: read(&self.computed_steps),
            step_tokens: read(&self.step_tokens),
            step_time: Duration::from_micros(read(&self.step_micros)),
            lookup_drafts: DraftTotals {
                drafted: read(&self.lookup_drafted),
                accepted: read(&self.lookup_accepted),
            },
            model_drafts: DraftTotals {
                drafted: read(&self.model_drafted),
                accepted: read(&self.model_accepted),
            },
        }
    }
}

/// The reason why results can no longer be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HaltReason {
    /// The device is gone, or its memory ran out.
    DeviceLost(String),
    /// A file of the model was changed since it was opened.
    ModelChanged(String),
}
