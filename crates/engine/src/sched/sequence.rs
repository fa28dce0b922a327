//! A task inside the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::plan::{Chunk, SequenceId};
use crate::api::StopReason;
use crate::injected::Injected;
use crate::kv::{BlockTable, PAGE_TOKENS, PageKey};
use crate::layout::AdapterId;

/// A shared flag that is set once: its sequence ends before the next step.
#[derive(Debug, Clone, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// Requests cancellation.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns whether cancellation was requested.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A task inside the engine: its tokens, and how many of them are computed.
#[derive(Debug)]
pub struct Sequence {
    id: SequenceId,
    /// The prompt, followed by the generated tokens.
    tokens: Vec<u32>,
    prompt_len: usize,
    /// The prompt's injected rows.
    injected: Injected,
    max_tokens: usize,
    cancel: CancelFlag,
    deadline: Option<Instant>,
    priority: u8,
    adapter: Option<AdapterId>,
    /// The tenant, as a key that seeds those of its pages.
    tenant: PageKey,
    /// The keys of its full pages, computed on demand.
    keys: Vec<PageKey>,
    /// The number of tokens whose keys and values are in the pages.
    num_computed: usize,
    /// The number of further tokens that the current step computes.
    num_planned: usize,
    /// Tokens that may follow the last one, which the current step computes too.
    draft: Vec<u32>,
    /// The index in the sequence of the first drafted token.
    draft_start: usize,
    preempted: bool,
    /// The number of younger sequences admitted while it waited.
    times_overtaken: usize,
    /// Its pages, while it runs.
    pages: Option<BlockTable>,
    /// In hybrid models: the number of pages that others had computed, too, without a recurrent state after them.
    branch: usize,
}

impl Sequence {
    /// Creates a sequence with a prompt of at least one token, and at most `max_tokens` (at least one) to generate.
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
            injected: Injected::default(),
            max_tokens,
            cancel,
            deadline,
            priority: 0,
            adapter: None,
            tenant: PageKey::root(""),
            keys: Vec::new(),
            num_computed: 0,
            num_planned: 0,
            draft: Vec::new(),
            draft_start: 0,
            preempted: false,
            times_overtaken: 0,
            pages: None,
            branch: 0,
        }
    }

    /// Sets its tenant: pages are shared only among sequences of one tenant.
    pub fn with_tenant(self, tenant: &str) -> Self {
        Self { tenant: PageKey::root(tenant), ..self }
    }

    /// Sets its adapter: pages are shared only among sequences of one adapter.
    pub fn with_adapter(self, adapter: Option<AdapterId>) -> Self {
        Self { adapter, ..self }
    }

    /// Sets the prompt's injected rows: pages are shared only if they and all pages before them hold the same
    /// injected content.
    pub fn with_injected(self, injected: Injected) -> Self {
        Self { injected, ..self }
    }

    /// Sets its priority: a level counts as much as a quarter of the prompt's length, and the lowest is preempted
    /// first.
    pub fn with_priority(self, priority: u8) -> Self {
        Self { priority, ..self }
    }

    /// Returns its id.
    pub fn id(&self) -> SequenceId {
        self.id
    }

    /// Returns its adapter, or `None` for the base.
    pub fn adapter(&self) -> Option<AdapterId> {
        self.adapter
    }

    /// Returns the rows that replace embeddings of its prompt.
    pub fn injected(&self) -> &Injected {
        &self.injected
    }

    /// Returns its priority.
    pub fn priority(&self) -> u8 {
        self.priority
    }

    /// Returns the prompt, followed by the generated tokens.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Returns the number of the prompt's tokens.
    pub fn prompt_len(&self) -> usize {
        self.prompt_len
    }

    /// Returns the number of tokens generated so far.
    pub fn num_generated(&self) -> usize {
        self.tokens.len() - self.prompt_len
    }

    /// Returns the maximum number of tokens whose keys and values it may store: the last generated token is never
    /// computed.
    pub fn worst_case(&self) -> usize {
        self.prompt_len + self.max_tokens - 1
    }

    /// Returns its pages, while it runs.
    pub fn pages(&self) -> Option<&BlockTable> {
        self.pages.as_ref()
    }

    /// Returns the number of tokens whose keys and values are in its pages.
    pub fn num_computed(&self) -> usize {
        self.num_computed
    }

    /// Appends a sampled token; returns true if it was the last one allowed.
    pub(super) fn append(&mut self, token: u32) -> bool {
        self.tokens.push(token);
        self.num_generated() >= self.max_tokens
    }

    /// The rank of decoding sequences, before that of every prompt.
    pub(super) const DECODE_RANK: i32 = i32::MIN;

    /// Returns its rank among the running sequences: lower ones are computed earlier. Prompts of similar length
    /// have the same rank, so that they are computed one after the other.
    pub(super) fn rank(&self) -> i32 {
        if self.is_decoding() {
            return Self::DECODE_RANK;
        }
        self.num_pending().ilog2() as i32 - 2 * i32::from(self.priority)
    }

    /// Returns the number of tokens that are not computed yet.
    fn num_pending(&self) -> usize {
        self.tokens.len() - self.num_computed
    }

    /// Returns the number of tokens that are neither computed nor planned in this step.
    pub(super) fn num_unplanned(&self) -> usize {
        self.num_pending() - self.num_planned
    }

    /// Returns whether only the latest token remains to be computed.
    pub(super) fn is_decoding(&self) -> bool {
        self.num_pending() <= 1
    }

    /// Returns the number of pages missing for its tokens and `headroom` tokens of its answer.
    pub(super) fn missing_pages(&self, headroom: usize) -> usize {
        let tokens = (self.tokens.len() + headroom).min(self.worst_case());
        let held = self.pages.as_ref().map_or(0, |table| table.pages().len());
        tokens.div_ceil(PAGE_TOKENS).saturating_sub(held)
    }

    /// Starts running with cached pages of its prefix. Returns the number of prompt tokens that this saves.
    pub(super) fn start(&mut self, mut table: BlockTable) -> usize {
        // Takes its slot of recurrent state now, so that those admitted after it see that it is held.
        table.grow(0);
        self.pages = Some(table);
        self.begin_step()
    }

    /// Preempts it; its computed pages stay cached until they are evicted. Returns the number of planned tokens.
    pub(super) fn preempt(&mut self) -> usize {
        self.release_and_reset();
        self.draft.clear();
        self.preempted = true;
        self.times_overtaken = 0;
        std::mem::take(&mut self.num_planned)
    }

    /// Returns its pages as if it had never run.
    pub(super) fn release_and_reset(&mut self) {
        self.pages = None;
        self.num_computed = 0;
    }

    /// Returns whether it was preempted and waits to be resumed.
    pub(super) fn is_preempted(&self) -> bool {
        self.preempted
    }

    /// Records that a younger sequence was admitted before it.
    pub(super) fn pass(&mut self) {
        self.times_overtaken += 1;
    }

    /// Returns the number of younger sequences admitted while it waited.
    pub(super) fn times_overtaken(&self) -> usize {
        self.times_overtaken
    }

    /// Resets the plan. Takes over pages that others have computed since the last step, and returns the number
    /// of prompt tokens that this saves.
    pub(super) fn begin_step(&mut self) -> usize {
        self.num_planned = 0;
        self.draft.clear();
        self.take_cached()
    }

    /// Allocates the pages for `more` tokens beside the planned ones; all of them or none.
    pub(super) fn grow(&mut self, more: usize) -> bool {
        let tokens = self.num_computed + self.num_planned + more;
        self.pages.as_mut().is_some_and(|table| table.grow(tokens))
    }

    /// Plans `more` tokens in this step, and reports the keys of the pages that they complete or that a later
    /// step will.
    pub(super) fn plan(&mut self, more: usize, mut fills: impl FnMut(PageKey)) {
        let start = self.num_computed + self.num_planned;
        self.num_planned += more;
        for index in start / PAGE_TOKENS..(start + more).div_ceil(PAGE_TOKENS) {
            if (index + 1) * PAGE_TOKENS <= self.tokens.len() {
                fills(self.key(index));
            }
        }
    }

    /// Returns the chunk that the step computes, if any.
    pub(super) fn chunk(&self) -> Option<Chunk> {
        let (id, start, len) = (self.id, self.num_computed, self.num_planned);
        let (samples, drafted) = (len == self.num_pending(), self.draft.len());
        (len > 0).then_some(Chunk { id, start, len, samples, drafted })
    }

    /// Returns the most tokens that may be drafted: after the last of them, one more may be sampled.
    pub(crate) fn most_drafted(&self) -> usize {
        (self.max_tokens - self.num_generated()).saturating_sub(1)
    }

    /// Returns the drafted tokens that the current step computes.
    pub(crate) fn draft(&self) -> &[u32] {
        &self.draft
    }

    /// Adds drafted tokens to a planned chunk that ends with the last token, and allocates their pages as long as
    /// `pages_to_spare` are free beside them. Returns how many were added: all or none.
    pub(super) fn plan_draft(&mut self, tokens: &[u32], pages_to_spare: usize) -> usize {
        debug_assert!(
            self.num_planned == self.num_pending() && tokens.len() <= self.most_drafted()
        );
        let end = self.tokens.len() + tokens.len();
        let room = self.pages.as_mut().is_some_and(|table| table.grow_leaving(end, pages_to_spare));
        if !room {
            return 0;
        }
        self.draft_start = self.tokens.len();
        self.draft.clear();
        self.draft.extend_from_slice(tokens);
        tokens.len()
    }

    /// Compares the last token, which was just appended, with the drafted one at its place. If they are equal, its
    /// keys and values are in the pages already: records that and returns true.
    pub(super) fn accept_drafted(&mut self) -> bool {
        let place = self.tokens.len() - 1;
        let drafted = place.checked_sub(self.draft_start).and_then(|place| self.draft.get(place));
        let accepted = drafted.is_some() && drafted == self.tokens.last();
        if accepted {
            self.mark_computed(place + 1);
        }
        accepted
    }

    /// Takes over pages with the next tokens that others computed. The last token is always computed, since its
    /// logits are needed. Returns the number of prompt tokens saved, without those that it had computed itself
    /// before it was preempted.
    fn take_cached(&mut self) -> usize {
        let before = self.num_computed;
        if self.pages.as_ref().is_some_and(BlockTable::has_states) {
            self.take_cached_with_state();
        }
        while let Some(key) = self.next_page_without_state() {
            if !self.pages.as_mut().is_some_and(|table| table.take_cached(&key)) {
                break;
            }
            self.num_computed += PAGE_TOKENS;
        }
        if self.preempted { 0 } else { self.num_computed - before }
    }

    /// Returns the key of the next page, if it may be shared and nothing is planned yet.
    pub(super) fn wanted_page(&mut self) -> Option<PageKey> {
        if self.num_planned > 0 { None } else { self.next_page() }
    }

    /// Returns the key of the next page, if it may be shared: it begins where the computed tokens end, and does
    /// not contain the last token.
    fn next_page(&mut self) -> Option<PageKey> {
        let index = self.num_computed / PAGE_TOKENS;
        let whole = self.num_computed.is_multiple_of(PAGE_TOKENS);
        (whole && (index + 1) * PAGE_TOKENS < self.tokens.len()).then(|| self.key(index))
    }

    /// Returns the key of the next page, as [`next_page`](Self::next_page), if a page is all that is needed.
    fn next_page_without_state(&mut self) -> Option<PageKey> {
        if self.pages.as_ref().is_some_and(BlockTable::has_states) {
            None
        } else {
            self.next_page()
        }
    }

    /// Takes over the next pages that others computed up to the last one with a recurrent state. The place where
    /// pages end that had been computed gets one in this step or a later one: others may begin alike.
    fn take_cached_with_state(&mut self) {
        let mut keys = Vec::new();
        if let Some(key) = self.next_page() {
            let first = self.num_computed / PAGE_TOKENS;
            let mut next = Some(key);
            while let Some(key) = next
                && self.pages.as_ref().is_some_and(|table| table.is_cached(&key))
            {
                keys.push(key);
                let index = first + keys.len();
                next = ((index + 1) * PAGE_TOKENS < self.tokens.len()).then(|| self.key(index));
            }
            if let Some(table) = self.pages.as_mut().filter(|_| !keys.is_empty()) {
                self.branch = first + keys.len();
                self.num_computed += table.take_cached_with_state(&keys) * PAGE_TOKENS;
            }
        }
    }

    /// Plans the recurrent states that are kept of the tokens of this step: at the end of the prompt, at intervals
    /// before it, where another prompt parted, and the last one of the answer.
    pub(super) fn plan_states(&mut self) {
        let Some(interval) = self.pages.as_ref().and_then(BlockTable::state_interval) else {
            return;
        };
        let (start, end) = (self.num_computed, self.num_computed + self.num_planned);
        let last_of_prompt = (self.prompt_len - 1) / PAGE_TOKENS;
        for pages in start / PAGE_TOKENS + 1..=end / PAGE_TOKENS {
            let in_prompt = pages <= last_of_prompt;
            let wanted = pages == last_of_prompt
                || pages == self.branch
                || (in_prompt && pages.is_multiple_of(interval))
                || pages * PAGE_TOKENS > self.prompt_len;
            if wanted {
                let key = self.key(pages - 1);
                if let Some(table) = &mut self.pages {
                    table.save_state(pages, &key);
                }
            }
        }
    }

    /// Records that keys and values up to here are in the pages, and publishes full pages.
    pub(super) fn mark_computed(&mut self, computed: usize) {
        for index in self.num_computed / PAGE_TOKENS..computed / PAGE_TOKENS {
            let key = self.key(index);
            if let Some(table) = &mut self.pages {
                table.keep(index, key);
            }
        }
        if let Some(mut table) = self.pages.take() {
            let prompt_len = self.prompt_len;
            table.publish_states(prompt_len, |index| self.key(index));
            self.pages = Some(table);
        }
        self.num_computed = computed;
        self.num_planned = 0;
    }

    /// Withdraws its published pages, whose content may be wrong.
    pub(super) fn forget(&mut self) {
        if let Some(table) = &mut self.pages {
            table.forget();
            table.forget_states(&self.keys);
        }
    }

    /// Returns the key of a full page.
    fn key(&mut self, index: usize) -> PageKey {
        while self.keys.len() <= index {
            let begin = self.keys.len() * PAGE_TOKENS;
            let root = || self.adapter.map_or(self.tenant, |adapter| self.tenant.adapted(adapter));
            let parent = self.keys.last().copied().unwrap_or_else(root);
            let page = begin..begin + PAGE_TOKENS;
            let injected = self.injected.contents(page.clone());
            let key = parent.next_with(&self.tokens[page], injected);
            self.keys.push(key);
        }
        self.keys[index]
    }

    /// Returns why it must end now, if it must.
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
