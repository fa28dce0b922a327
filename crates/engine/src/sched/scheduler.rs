//! Decides, step by step, which tokens of which sequences are computed.

use std::collections::VecDeque;
use std::time::Instant;

use super::{Sequence, SequenceId};
use crate::api::StopReason;
use crate::kv::{PAGE_TOKENS, PageAllocator};

/// What a step may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sequences that run at once.
    pub max_batch: usize,
    /// Tokens computed in one step: bounds how long running sequences wait for a new prompt.
    pub step_tokens: usize,
}

/// A piece of a sequence that one step computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Whose.
    pub id: SequenceId,
    /// First token.
    pub start: usize,
    /// How many.
    pub len: usize,
    /// Whether it ends with the sequence's last token, so that the next one is sampled.
    pub samples: bool,
}

/// What one step does.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct StepPlan {
    /// What is computed.
    pub chunks: Vec<Chunk>,
    /// Who was admitted.
    pub admitted: Vec<SequenceId>,
    /// Who ended before the step, and why.
    pub ended: Vec<(SequenceId, StopReason)>,
}

/// Decides which tokens of which sequences are computed.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    pages: PageAllocator,
    waiting: VecDeque<Sequence>,
    running: Vec<Sequence>,
}

impl Scheduler {
    /// A scheduler that hands out these pages.
    pub fn new(limits: Limits, pages: PageAllocator) -> Self {
        let max_batch = limits.max_batch.max(1);
        // Even when all sequences decode, a prompt must get on.
        let step_tokens = limits.step_tokens.max(max_batch + PAGE_TOKENS);
        let limits = Limits { max_batch, step_tokens };
        Self { limits, pages, waiting: VecDeque::new(), running: Vec::new() }
    }

    /// Lets a sequence wait for its turn. It must fit into the pages when it is alone.
    pub fn add(&mut self, sequence: Sequence) {
        debug_assert!(sequence.worst_case() <= self.pages.total_pages() * PAGE_TOKENS);
        self.waiting.push_back(sequence);
    }

    /// The next step: running decodes first, then prompts in order of arrival, up to the limits.
    pub fn schedule(&mut self, now: Instant) -> StepPlan {
        let mut plan = StepPlan { ended: self.end_those_who_must(now), ..StepPlan::default() };
        self.admit(&mut plan.admitted);
        let mut budget = self.limits.step_tokens;
        for decoding in [true, false] {
            for sequence in self.running.iter().filter(|one| one.is_decoding() == decoding) {
                let len = sequence.num_pending().min(budget);
                if len == 0 {
                    break;
                }
                budget -= len;
                plan.chunks.push(Chunk {
                    id: sequence.id(),
                    start: sequence.num_computed,
                    len,
                    samples: len == sequence.num_pending(),
                });
            }
        }
        plan
    }

    /// In order of arrival, as long as there is room for all that a sequence may ever need.
    fn admit(&mut self, admitted: &mut Vec<SequenceId>) {
        while self.running.len() < self.limits.max_batch
            && let Some(first) = self.waiting.front()
            && let Some(pages) = self.pages.reserve(first.worst_case())
            && let Some(mut sequence) = self.waiting.pop_front()
        {
            sequence.pages = Some(pages);
            admitted.push(sequence.id());
            self.running.push(sequence);
        }
    }

    fn end_those_who_must(&mut self, now: Instant) -> Vec<(SequenceId, StopReason)> {
        let mut ended = Vec::new();
        let mut stays = |sequence: &Sequence| match sequence.must_end(now) {
            Some(reason) => {
                ended.push((sequence.id(), reason));
                false
            }
            None => true,
        };
        self.running.retain(&mut stays);
        self.waiting.retain(&mut stays);
        ended
    }

    /// A running sequence.
    pub fn sequence(&self, id: SequenceId) -> Option<&Sequence> {
        self.running.iter().find(|sequence| sequence.id() == id)
    }

    /// The chunk is computed: its keys and values are in the pages.
    pub fn mark_computed(&mut self, chunk: &Chunk) {
        if let Some(sequence) = self.running.iter_mut().find(|one| one.id() == chunk.id) {
            sequence.num_computed = chunk.start + chunk.len;
        }
    }

    /// A token was sampled for a sequence; true if it was the last one allowed.
    pub fn append(&mut self, id: SequenceId, token: u32) -> bool {
        match self.running.iter_mut().find(|sequence| sequence.id() == id) {
            Some(sequence) => sequence.append(token),
            None => true,
        }
    }

    /// Ends a running sequence; its pages are free at once.
    pub fn remove(&mut self, id: SequenceId) {
        self.running.retain(|sequence| sequence.id() != id);
    }

    /// How many run.
    pub fn num_running(&self) -> usize {
        self.running.len()
    }

    /// How many wait.
    pub fn num_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }
}
