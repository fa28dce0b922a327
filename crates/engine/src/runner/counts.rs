//! Counts the tokens of a sequence while it runs.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The numbers of tokens so far. The compute thread adds, callers read at any time.
#[derive(Debug)]
pub(super) struct TokenCounts {
    prompt: usize,
    cached: AtomicUsize,
    generated: AtomicUsize,
    reasoning: AtomicUsize,
    drafted: AtomicUsize,
    accepted: AtomicUsize,
}

impl TokenCounts {
    pub(super) fn new(prompt: usize) -> Self {
        Self {
            prompt,
            cached: AtomicUsize::new(0),
            generated: AtomicUsize::new(0),
            reasoning: AtomicUsize::new(0),
            drafted: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
        }
    }

    /// Adds prompt tokens that were found in cached pages.
    pub(super) fn add_cached(&self, tokens: usize) {
        self.cached.fetch_add(tokens, Ordering::Relaxed);
    }

    pub(super) fn add_generated(&self) {
        self.generated.fetch_add(1, Ordering::Relaxed);
    }

    /// Sets the number of generated tokens that are reasoning.
    pub(super) fn set_reasoning(&self, tokens: usize) {
        self.reasoning.store(tokens, Ordering::Relaxed);
    }

    /// Adds tokens that were drafted and computed.
    pub(super) fn add_drafted(&self, tokens: usize) {
        self.drafted.fetch_add(tokens, Ordering::Relaxed);
    }

    /// Adds a generated token that was drafted.
    pub(super) fn add_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn prompt(&self) -> usize {
        self.prompt
    }

    /// Returns the number of prompt tokens that were found in cached pages. A sequence that was preempted finds
    /// them again, and tokens of its answer too: counts at most the prompt.
    pub(super) fn cached(&self) -> usize {
        self.cached.load(Ordering::Relaxed).min(self.prompt)
    }

    pub(super) fn generated(&self) -> usize {
        self.generated.load(Ordering::Relaxed)
    }

    pub(super) fn reasoning(&self) -> usize {
        self.reasoning.load(Ordering::Relaxed)
    }

    pub(super) fn drafted(&self) -> usize {
        self.drafted.load(Ordering::Relaxed)
    }

    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}
