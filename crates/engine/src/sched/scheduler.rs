//! Decides for each step which tokens of which sequences are computed.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::{Chunk, Limits, Sequence, SequenceId, StepPlan};
use crate::api::StopReason;
use crate::kv::{PAGE_TOKENS, PageAllocator, PageKey};

/// The tokens of its answer for which a sequence must find room before it is admitted, and which newer ones
/// then leave to it. Answers are usually shorter than allowed, so reserving all of every answer would waste
/// memory; a sequence that grows beyond this may cause a preemption.
pub const ANSWER_HEADROOM: usize = 256;

/// The oldest prompt gets at least one part in this many of the step's budget after decodes.
const OLDEST_SHARE_DIVISOR: usize = 2;
/// The same while a prompt of a higher priority is pending.
const OLDEST_SHARE_DIVISOR_IF_URGENT: usize = 8;

/// Decides which tokens of which sequences are computed.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    pages: PageAllocator,
    /// In order of arrival.
    waiting: VecDeque<Sequence>,
    /// In order of arrival.
    running: Vec<Sequence>,
    /// The running sequences by rank in this step; kept to reuse its memory.
    order: Vec<(i32, SequenceId)>,
    /// The pages that this step computes, and the sequence that computes each; kept to reuse its memory.
    filling: HashMap<PageKey, SequenceId>,
}

impl Scheduler {
    /// Creates a scheduler that allocates these pages.
    pub fn new(limits: Limits, pages: PageAllocator) -> Self {
        let max_batch = limits.max_batch.max(1);
        // A prompt must advance even if all sequences decode.
        let step_tokens = limits.step_tokens.max(max_batch + PAGE_TOKENS);
        Self {
            limits: Limits { max_batch, step_tokens },
            pages,
            waiting: VecDeque::new(),
            running: Vec::new(),
            order: Vec::new(),
            filling: HashMap::new(),
        }
    }

    /// Adds a waiting sequence. It must fit into the pages when it is alone.
    pub fn add(&mut self, sequence: Sequence) {
        debug_assert!(sequence.worst_case() <= self.pages.total_pages() * PAGE_TOKENS);
        let place = self.waiting.partition_point(|other| other.id() < sequence.id());
        self.waiting.insert(place, sequence);
    }

    /// Returns the plan of the next step.
    pub fn schedule(&mut self, now: Instant) -> StepPlan {
        let mut plan = StepPlan::default();
        self.schedule_into(now, &mut plan);
        plan
    }

    /// Like [`schedule`](Self::schedule), but reuses the plan of an earlier step.
    ///
    /// The budget goes to decodes, then to the oldest prompt's share, then to prompts by rank: short and urgent
    /// ones first.
    pub fn schedule_into(&mut self, now: Instant, plan: &mut StepPlan) {
        plan.clear();
        self.end_cancelled_and_expired(now, &mut plan.ended);
        self.admit(plan);
        self.begin_step(plan);
        let mut budget = self.limits.step_tokens;
        let order = std::mem::take(&mut self.order);
        let decodes = order.partition_point(|(rank, _)| *rank == Sequence::DECODE_RANK);
        for (_, id) in &order[..decodes] {
            self.compute(*id, 1, &mut budget, plan);
        }
        if let Some((oldest, parts)) = self.oldest_prompt() {
            self.compute(oldest, (budget / parts).max(1), &mut budget, plan);
        }
        for (_, id) in &order[decodes..] {
            self.compute(*id, usize::MAX, &mut budget, plan);
        }
        for sequence in &mut self.running {
            sequence.plan_states();
        }
        let chunks = order.iter().filter_map(|(_, id)| self.sequence(*id)?.chunk());
        plan.chunks.extend(chunks);
        self.order = order;
    }

    /// Takes over cached pages with the next tokens, and ranks the sequences by their remaining tokens.
    fn begin_step(&mut self, plan: &mut StepPlan) {
        self.filling.clear();
        self.order.clear();
        for sequence in &mut self.running {
            let cached = sequence.begin_step();
            if cached > 0 {
                plan.cached.push((sequence.id(), cached));
            }
            self.order.push((sequence.rank(), sequence.id()));
        }
        self.order.sort_unstable();
    }

    /// Returns the oldest prompt, and the divisor of the budget for its share.
    fn oldest_prompt(&self) -> Option<(SequenceId, usize)> {
        let mut prompts = self.running.iter().filter(|one| !one.is_decoding());
        let oldest = prompts.next()?;
        let urgent = prompts.any(|one| one.priority() > oldest.priority());
        Some((
            oldest.id(),
            if urgent { OLDEST_SHARE_DIVISOR_IF_URGENT } else { OLDEST_SHARE_DIVISOR },
        ))
    }

    /// Plans up to `most` more tokens of a sequence. If another sequence computes the page that it needs, that one
    /// gets the tokens, and the page is taken over after the step.
    fn compute(&mut self, id: SequenceId, most: usize, budget: &mut usize, plan: &mut StepPlan) {
        let Some(sequence) = self.sequence_mut(id) else { return }; // preempted meanwhile
        let len = sequence.num_unplanned().min(most).min(*budget);
        if len == 0 {
            return;
        }
        if let Some(other) = self.sequence_filling_next_page(id) {
            return self.compute(other, len, budget, plan);
        }
        if !self.allocate_or_preempt(id, len, budget, plan) {
            return; // it was preempted itself
        }
        let place = self.running.binary_search_by_key(&id, Sequence::id);
        let Some(sequence) = place.ok().and_then(|place| self.running.get_mut(place)) else {
            return;
        };
        *budget -= len;
        sequence.plan(len, |page| {
            self.filling.entry(page).or_insert(id);
        });
    }

    /// Returns the sequence that computes, in this step, the page that a sequence needs next.
    fn sequence_filling_next_page(&mut self, id: SequenceId) -> Option<SequenceId> {
        let page = self.sequence_mut(id)?.wanted_page()?;
        let other = self.sequence(*self.filling.get(&page)?)?;
        other.chunk().is_some().then_some(other.id())
    }

    /// Admits waiting sequences, short and urgent ones first, while there is room for a sequence's tokens and part of
    /// its answer, beside the same for all running ones.
    fn admit(&mut self, plan: &mut StepPlan) {
        while self.running.len() < self.limits.max_batch && self.pages.has_free_state() {
            let mut places = self.next_to_admit().into_iter().flatten();
            if !places.any(|place| self.admit_at(place, plan)) {
                return;
            }
        }
    }

    /// Returns the positions in the queue to try: the oldest preempted sequence, then the first by rank. A sequence
    /// that was passed by `max_batch` younger ones can't be passed again.
    fn next_to_admit(&self) -> [Option<usize>; 2] {
        let overtaken_enough = |one: &Sequence| one.times_overtaken() >= self.limits.max_batch;
        let barrier = self.waiting.iter().position(overtaken_enough);
        let end = barrier.map_or(self.waiting.len(), |place| place + 1);
        let places = self.waiting.range(..end).enumerate();
        let preempted = places.clone().find(|(_, one)| one.is_preempted());
        let fresh = places.filter(|(_, one)| !one.is_preempted());
        let first = fresh.min_by_key(|(place, one)| (one.rank(), *place));
        [preempted.map(|(place, _)| place), first.map(|(place, _)| place)]
    }

    /// Admits a waiting sequence if there is room; returns whether it did.
    fn admit_at(&mut self, place: usize, plan: &mut StepPlan) -> bool {
        let Some(mut sequence) = self.waiting.remove(place) else { return false };
        let cached = sequence.start(self.pages.table());
        let due: usize =
            self.running.iter().chain([&sequence]).map(Self::missing_pages_with_headroom).sum();
        // A sequence that is alone always fits, so at least one sequence always runs.
        if !self.running.is_empty() && due > self.pages.free_pages() {
            sequence.release_and_reset();
            self.waiting.insert(place, sequence);
            return false;
        }
        self.waiting.iter_mut().take(place).for_each(Sequence::pass);
        plan.admitted.push(sequence.id());
        if cached > 0 {
            plan.cached.push((sequence.id(), cached));
        }
        let place = self.running.partition_point(|other| other.id() < sequence.id());
        self.running.insert(place, sequence);
        true
    }

    fn missing_pages_with_headroom(sequence: &Sequence) -> usize {
        sequence.missing_pages(ANSWER_HEADROOM)
    }

    /// Allocates pages for `len` more tokens of a sequence. While there are not enough, preempts the latest arrival of
    /// the lowest priority, but never the oldest running one. That one always advances, and every sequence becomes the
    /// oldest eventually, so each ends. Returns false if the sequence itself was preempted.
    fn allocate_or_preempt(
        &mut self,
        id: SequenceId,
        len: usize,
        budget: &mut usize,
        plan: &mut StepPlan,
    ) -> bool {
        while let Some(sequence) = self.sequence_mut(id) {
            if sequence.grow(len) {
                return true;
            }
            let others = self.running.iter().enumerate().skip(1);
            let last = others.min_by_key(|(index, one)| (one.priority(), usize::MAX - index));
            let Some((index, _)) = last else { return false };
            let mut last = self.running.remove(index);
            *budget += last.preempt();
            plan.preempted.push(last.id());
            self.add(last);
        }
        false
    }

    fn end_cancelled_and_expired(
        &mut self,
        now: Instant,
        ended: &mut Vec<(SequenceId, StopReason)>,
    ) {
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

    /// Returns a running sequence.
    pub fn sequence(&self, id: SequenceId) -> Option<&Sequence> {
        let place = self.running.binary_search_by_key(&id, Sequence::id).ok()?;
        self.running.get(place)
    }

    fn sequence_mut(&mut self, id: SequenceId) -> Option<&mut Sequence> {
        let place = self.running.binary_search_by_key(&id, Sequence::id).ok()?;
        self.running.get_mut(place)
    }

    /// Records that a chunk is computed: its keys and values are in the pages, where others may find them.
    pub fn mark_computed(&mut self, chunk: &Chunk) {
        if let Some(sequence) = self.sequence_mut(chunk.id) {
            sequence.mark_computed(chunk.start + chunk.len);
        }
    }

    /// Adds drafted tokens to a planned chunk that ends with its sequence's last token. Their rows take no part in the
    /// budget and preempt nobody: without a free page for them, and one for each running sequence, none are added.
    pub fn add_draft(&mut self, chunk: &mut Chunk, tokens: &[u32]) {
        let pages_to_spare = self.running.len();
        if let Some(sequence) = self.sequence_mut(chunk.id) {
            chunk.drafted = sequence.plan_draft(tokens, pages_to_spare);
        }
    }

    /// Returns whether a sequence's last token, which was just appended, is the drafted one, so that the next row of
    /// the step holds the logits after it. Keys and values of rejected tokens are overwritten by the next step.
    pub fn accept_drafted(&mut self, id: SequenceId) -> bool {
        self.sequence_mut(id).is_some_and(Sequence::accept_drafted)
    }

    /// Appends a sampled token to a sequence; returns true if it was the last one allowed.
    pub fn append(&mut self, id: SequenceId, token: u32) -> bool {
        self.sequence_mut(id).is_none_or(|sequence| sequence.append(token))
    }

    /// Removes a running sequence and frees its pages.
    pub fn remove(&mut self, id: SequenceId) {
        self.running.retain(|sequence| sequence.id() != id);
    }

    /// Removes a running sequence whose pages may be wrong, and withdraws them from the cache.
    pub fn discard(&mut self, id: SequenceId) {
        if let Some(sequence) = self.sequence_mut(id) {
            sequence.forget();
        }
        self.remove(id);
    }

    /// Returns the number of running sequences.
    pub fn num_running(&self) -> usize {
        self.running.len()
    }

    /// Returns the number of waiting sequences.
    pub fn num_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns whether no sequence runs or waits.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }
}
