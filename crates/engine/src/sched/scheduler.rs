//! Decides, step by step, which tokens of which sequences are computed.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::{Chunk, Limits, Sequence, SequenceId, StepPlan};
use crate::api::StopReason;
use crate::kv::{PAGE_TOKENS, PageAllocator, PageKey};

/// Tokens of its answer that a sequence must find room for before it is admitted, and that newer
/// ones then leave it. Answers are mostly shorter than they may be, so room for all of every answer
/// would lie idle; a sequence that grows beyond this may cause a preemption.
pub const ANSWER_HEADROOM: usize = 256;

/// The oldest prompt's least share of what decodes leave of a step's budget: one part of so many.
const OLDEST_SHARE: usize = 2;
/// The same while a prompt of a higher priority is pending.
const OLDEST_SHARE_BESIDE_URGENT: usize = 8;

/// Decides which tokens of which sequences are computed.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    pages: PageAllocator,
    /// In order of arrival.
    waiting: VecDeque<Sequence>,
    /// In order of arrival.
    running: Vec<Sequence>,
    /// The running sequences by rank, in this step; the memory is kept for the next.
    order: Vec<(i32, SequenceId)>,
    /// The pages that this step works on, and the sequence that computes each; the memory is kept.
    filling: HashMap<PageKey, SequenceId>,
}

impl Scheduler {
    /// A scheduler that hands out these pages.
    pub fn new(limits: Limits, pages: PageAllocator) -> Self {
        let max_batch = limits.max_batch.max(1);
        // Even when all sequences decode, a prompt must advance.
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

    /// Lets a sequence wait for its turn. It must fit into the pages when it is alone.
    pub fn add(&mut self, sequence: Sequence) {
        debug_assert!(sequence.worst_case() <= self.pages.total_pages() * PAGE_TOKENS);
        let place = self.waiting.partition_point(|other| other.id() < sequence.id());
        self.waiting.insert(place, sequence);
    }

    /// The next step.
    pub fn schedule(&mut self, now: Instant) -> StepPlan {
        let mut plan = StepPlan::default();
        self.schedule_into(now, &mut plan);
        plan
    }

    /// As [`schedule`](Self::schedule), into the plan of an earlier step.
    ///
    /// The budget goes to decodes, then to the oldest prompt's share, then to the prompts by rank: the short and the
    /// urgent first.
    pub fn schedule_into(&mut self, now: Instant, plan: &mut StepPlan) {
        plan.clear();
        self.end_those_who_must(now, &mut plan.ended);
        self.admit(plan);
        self.begin_step(plan);
        let mut budget = self.limits.step_tokens;
        let order = std::mem::take(&mut self.order);
        let decodes = order.partition_point(|(rank, _)| *rank == Sequence::DECODES);
        for (_, id) in &order[..decodes] {
            self.compute(*id, 1, &mut budget, plan);
        }
        if let Some((oldest, parts)) = self.oldest_prompt() {
            self.compute(oldest, (budget / parts).max(1), &mut budget, plan);
        }
        for (_, id) in &order[decodes..] {
            self.compute(*id, usize::MAX, &mut budget, plan);
        }
        let chunks = order.iter().filter_map(|(_, id)| self.sequence(*id)?.chunk());
        plan.chunks.extend(chunks);
        self.order = order;
    }

    /// Takes over pages that hold what comes next, and ranks the sequences by what is left.
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

    /// The prompt that arrived first, and one part of how many of the budget is its share.
    fn oldest_prompt(&self) -> Option<(SequenceId, usize)> {
        let mut prompts = self.running.iter().filter(|one| !one.is_decoding());
        let oldest = prompts.next()?;
        let urgent = prompts.any(|one| one.priority() > oldest.priority());
        Some((oldest.id(), if urgent { OLDEST_SHARE_BESIDE_URGENT } else { OLDEST_SHARE }))
    }

    /// Plans up to `most` more tokens of a sequence. If another sequence computes the page that it needs, it lends
    /// them to that one and takes the page over after the step.
    fn compute(&mut self, id: SequenceId, most: usize, budget: &mut usize, plan: &mut StepPlan) {
        let Some(sequence) = self.sequence_mut(id) else { return }; // preempted meanwhile
        let len = sequence.num_unplanned().min(most).min(*budget);
        if len == 0 {
            return;
        }
        if let Some(other) = self.filled_by_another(id) {
            return self.compute(other, len, budget, plan);
        }
        if !self.make_room(id, len, budget, plan) {
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

    /// The sequence that computes, in this step, the page that a sequence needs next.
    fn filled_by_another(&mut self, id: SequenceId) -> Option<SequenceId> {
        let page = self.sequence_mut(id)?.wanted_page()?;
        let other = self.sequence(*self.filling.get(&page)?)?;
        other.chunk().is_some().then_some(other.id())
    }

    /// Admits the short and the urgent first, as long as there is room for what a sequence has and for some of its
    /// answer, beside the same for all that run.
    fn admit(&mut self, plan: &mut StepPlan) {
        while self.running.len() < self.limits.max_batch {
            let mut places = self.next_to_admit().into_iter().flatten();
            if !places.any(|place| self.admit_at(place, plan)) {
                return;
            }
        }
    }

    /// The places in the queue to try: the oldest preempted sequence, then the first by rank. A sequence that was
    /// passed by `max_batch` younger ones is passed by no more.
    fn next_to_admit(&self) -> [Option<usize>; 2] {
        let passed_enough = |one: &Sequence| one.times_passed() >= self.limits.max_batch;
        let barrier = self.waiting.iter().position(passed_enough);
        let end = barrier.map_or(self.waiting.len(), |place| place + 1);
        let places = self.waiting.range(..end).enumerate();
        let preempted = places.clone().find(|(_, one)| one.is_preempted());
        let fresh = places.filter(|(_, one)| !one.is_preempted());
        let first = fresh.min_by_key(|(place, one)| (one.rank(), *place));
        [preempted.map(|(place, _)| place), first.map(|(place, _)| place)]
    }

    /// Admits a waiting sequence if there is room. False if not.
    fn admit_at(&mut self, place: usize, plan: &mut StepPlan) -> bool {
        let Some(mut sequence) = self.waiting.remove(place) else { return false };
        let cached = sequence.start(self.pages.table());
        let due: usize = self.running.iter().chain([&sequence]).map(Self::due_pages).sum();
        // Alone it fits, whatever is due: so at least one sequence always runs.
        if !self.running.is_empty() && due > self.pages.free_pages() {
            sequence.withdraw();
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

    fn due_pages(sequence: &Sequence) -> usize {
        sequence.missing_pages(ANSWER_HEADROOM)
    }

    /// Makes `len` more tokens fit into a sequence's pages. While there are not enough, the latest arrival of the
    /// lowest priority is preempted, but never the oldest that runs: it always advances, each sequence becomes the
    /// oldest at last, and so each ends. False if the sequence itself was preempted.
    fn make_room(
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
