//! A task inside the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::api::StopReason;
use crate::kv::BlockTable;

/// Names a sequence; ascending in order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u64);

/// Set once, by anybody who holds it: the sequence ends before the next step.
#[derive(Debug, Clone, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// Asks the sequence to end.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A task inside the engine: its tokens, and how far they are computed.
#[derive(Debug)]
pub struct Sequence {
    id: SequenceId,
    /// The prompt, then what was generated.
    tokens: Vec<u32>,
    prompt_len: usize,
    /// How many tokens have their keys and values in the pages.
    pub(super) num_computed: usize,
    max_tokens: usize,
    cancel: CancelFlag,
    deadline: Option<Instant>,
    /// Pages for all it may ever need, from admission on.
    pub(super) pages: Option<BlockTable>,
}

impl Sequence {
    /// A prompt of at least one token, and at most `max_tokens` (at least one) to follow it.
    pub fn new(
        id: SequenceId,
        prompt: Vec<u32>,
        max_tokens: usize,
        cancel: CancelFlag,
        deadline: Option<Instant>,
    ) -> Self {
        debug_assert!(!prompt.is_empty() && max_tokens > 0);
        let prompt_len = prompt.len();
        Self {
            id,
            tokens: prompt,
            prompt_len,
            num_computed: 0,
            max_tokens,
            cancel,
            deadline,
            pages: None,
        }
    }

    /// Its name.
    pub fn id(&self) -> SequenceId {
        self.id
    }

    /// The prompt, then what was generated.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Tokens of the prompt.
    pub fn prompt_len(&self) -> usize {
        self.prompt_len
    }

    /// Tokens generated so far.
    pub fn num_generated(&self) -> usize {
        self.tokens.len() - self.prompt_len
    }

    /// Tokens whose keys and values it may ever keep: the last generated token is never read.
    pub fn worst_case(&self) -> usize {
        self.prompt_len + self.max_tokens - 1
    }

    /// Its pages, once admitted.
    pub fn pages(&self) -> Option<&BlockTable> {
        self.pages.as_ref()
    }

    /// Takes the token that was sampled; true if it was the last one allowed.
    pub(super) fn append(&mut self, token: u32) -> bool {
        self.tokens.push(token);
        self.num_generated() >= self.max_tokens
    }

    /// Tokens that are not computed yet.
    pub(super) fn num_pending(&self) -> usize {
        self.tokens.len() - self.num_computed
    }

    /// Whether only the last generated token is to be computed.
    pub(super) fn is_decoding(&self) -> bool {
        self.num_computed >= self.prompt_len
    }

    /// Why it must end now, if it must.
    pub(super) fn must_end(&self, now: Instant) -> Option<StopReason> {
        if self.cancel.is_cancelled() {
            Some(StopReason::Cancelled)
        } else if self.deadline.is_some_and(|deadline| deadline <= now) {
            Some(StopReason::Deadline)
        } else {
            None
        }
    }
}
