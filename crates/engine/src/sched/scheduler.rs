//! Decides, step by step, which tokens of which sequences are computed.

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use super::{Sequence, SequenceId};
use crate::api::StopReason;
use crate::kv::{PAGE_TOKENS, PageAllocator};

/// Tokens of its answer that a sequence must find room for before it is admitted, and that newer
/// ones then leave it. Answers are mostly shorter than they may be, so room for all of every answer
/// would lie idle; whoever grows beyond this may cost another its place.
pub const ANSWER_HEADROOM: usize = 256;

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
    /// Who was admitted, some not for the first time.
    pub admitted: Vec<SequenceId>,
    /// Who was put back because pages ran out.
    pub preempted: Vec<SequenceId>,
    /// How many prompt tokens nobody computes for whom, as others left them in the pages.
    pub cached: Vec<(SequenceId, usize)>,
    /// Who ended before the step, and why.
    pub ended: Vec<(SequenceId, StopReason)>,
}

/// Decides which tokens of which sequences are computed.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    pages: PageAllocator,
    /// In order of arrival.
    waiting: VecDeque<Sequence>,
    /// In order of arrival.
    running: Vec<Sequence>,
    /// Who runs, in the order of this step; kept for the next.
    order: Vec<SequenceId>,
}

impl StepPlan {
    /// Empties it for the next step. The memory stays.
    fn clear(&mut self) {
        let Self { chunks, admitted, preempted, cached, ended } = self;
        chunks.clear();
        admitted.clear();
        preempted.clear();
        cached.clear();
        ended.clear();
    }
}

impl Scheduler {
    /// A scheduler that hands out these pages.
    pub fn new(limits: Limits, pages: PageAllocator) -> Self {
        let max_batch = limits.max_batch.max(1);
        // Even when all sequences decode, a prompt must get on.
        let step_tokens = limits.step_tokens.max(max_batch + PAGE_TOKENS);
        let limits = Limits { max_batch, step_tokens };
        let (waiting, running, order) = (VecDeque::new(), Vec::new(), Vec::new());
        Self { limits, pages, waiting, running, order }
    }

    /// Lets a sequence wait for its turn. It must fit into the pages when it is alone.
    pub fn add(&mut self, sequence: Sequence) {
        debug_assert!(sequence.worst_case() <= self.pages.total_pages() * PAGE_TOKENS);
        let place = self.waiting.partition_point(|other| other.id() < sequence.id());
        self.waiting.insert(place, sequence);
    }

    /// The next step: who decodes first, then prompts, each in order of arrival, up to the limits.
    pub fn schedule(&mut self, now: Instant) -> StepPlan {
        let mut plan = StepPlan::default();
        self.schedule_into(now, &mut plan);
        plan
    }

    /// As [`schedule`](Self::schedule), into the plan of an earlier step.
    pub fn schedule_into(&mut self, now: Instant, plan: &mut StepPlan) {
        plan.clear();
        self.end_those_who_must(now, &mut plan.ended);
        self.admit(plan);
        let mut budget = self.limits.step_tokens;
        // Pages that this step fills: who needs one of them takes it over after the step.
        let mut filled = HashSet::new();
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        for decoding in [true, false] {
            let turn = self.running.iter().filter(|one| one.is_decoding() == decoding);
            order.extend(turn.map(Sequence::id));
        }
        for id in order.iter().copied() {
            let Some(sequence) = self.sequence_mut(id) else { continue }; // put back meanwhile
            let cached = sequence.take_cached();
            if cached > 0 {
                plan.cached.push((id, cached));
            }
            let (start, pending) = (sequence.num_computed(), sequence.num_pending());
            let len = pending.min(budget);
            if len == 0 || sequence.next_page().is_some_and(|key| filled.contains(&key)) {
                continue;
            }
            if !self.make_room(id, start + len, plan, &mut budget) {
                continue; // it was put back itself
            }
            budget -= len;
            plan.chunks.push(Chunk { id, start, len, samples: len == pending });
            if let Some(sequence) = self.sequence_mut(id) {
                filled.extend(sequence.filled_by(start + len).into_iter().map(|(_, key)| key));
            }
        }
        self.order = order;
    }

    /// In order of arrival, as long as there is room for what a sequence has and for some of its
    /// answer, beside the same for all who run.
    fn admit(&mut self, plan: &mut StepPlan) {
        while self.running.len() < self.limits.max_batch
            && let Some(mut sequence) = self.waiting.pop_front()
        {
            let cached = sequence.start(self.pages.table());
            let due: usize = self.running.iter().chain([&sequence]).map(Self::due_pages).sum();
            // Alone it fits, whatever is due: so somebody always runs.
            if !self.running.is_empty() && due > self.pages.free_pages() {
                sequence.withdraw();
                self.waiting.push_front(sequence);
                return;
            }
            plan.admitted.push(sequence.id());
            if cached > 0 {
                plan.cached.push((sequence.id(), cached));
            }
            // Who was put back may be older than some who run.
            let place = self.running.partition_point(|other| other.id() < sequence.id());
            self.running.insert(place, sequence);
        }
    }

    fn due_pages(sequence: &Sequence) -> usize {
        sequence.missing_pages(ANSWER_HEADROOM)
    }

    /// Has `tokens` fit into a sequence's pages. While there are not enough, the latest of the
    /// lowest priority is put back, but never the oldest of all: it always gets on, so everybody
    /// becomes the oldest at last, and ends. False if it was the sequence itself.
    fn make_room(
        &mut self,
        id: SequenceId,
        tokens: usize,
        plan: &mut StepPlan,
        budget: &mut usize,
    ) -> bool {
        while let Some(sequence) = self.sequence_mut(id) {
            if sequence.grow(tokens) {
                return true;
            }
            let others = self.running.iter().enumerate().skip(1);
            let last = others.min_by_key(|(index, one)| (one.priority(), usize::MAX - index));
            let Some((index, _)) = last else { return false };
            let mut last = self.running.remove(index);
            last.put_back();
            plan.preempted.push(last.id());
            plan.chunks.retain(|chunk| {
                let stays = chunk.id != last.id();
                *budget += if stays { 0 } else { chunk.len };
                stays
            });
            self.add(last);
        }
        false
    }

    fn end_those_who_must(&mut self, now: Instant, ended: &mut Vec<(SequenceId, StopReason)>) {
        let mut stays = |sequence: &Sequence| match sequence.must_end(now) {
            Some(reason) => {
                ended.push((sequence.id(), reason));
                false
            }
            None => true,
        };
        self.running.retain(&mut stays);
        self.waiting.retain(&mut stays);
    }

    /// A running sequence.
    pub fn sequence(&self, id: SequenceId) -> Option<&Sequence> {
        let place = self.running.binary_search_by_key(&id, Sequence::id).ok()?;
        self.running.get(place)
    }

    fn sequence_mut(&mut self, id: SequenceId) -> Option<&mut Sequence> {
        let place = self.running.binary_search_by_key(&id, Sequence::id).ok()?;
        self.running.get_mut(place)
    }

    /// The chunk is computed: its keys and values are in the pages, and others may find them there.
    pub fn mark_computed(&mut self, chunk: &Chunk) {
        if let Some(sequence) = self.sequence_mut(chunk.id) {
            sequence.mark_computed(chunk.start + chunk.len);
        }
    }

    /// A token was sampled for a sequence; true if it was the last one allowed.
    pub fn append(&mut self, id: SequenceId, token: u32) -> bool {
        self.sequence_mut(id).is_none_or(|sequence| sequence.append(token))
    }

    /// Ends a running sequence; its pages are free at once.
    pub fn remove(&mut self, id: SequenceId) {
        self.running.retain(|sequence| sequence.id() != id);
    }

    /// Ends a running sequence whose pages may hold nonsense: nobody shall find them.
    pub fn discard(&mut self, id: SequenceId) {
        if let Some(sequence) = self.sequence_mut(id) {
            sequence.forget();
        }
        self.remove(id);
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
