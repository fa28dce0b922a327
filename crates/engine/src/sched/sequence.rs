//! A task inside the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::plan::{Chunk, SequenceId};
use crate::api::StopReason;
use crate::kv::{BlockTable, PAGE_TOKENS, PageKey};
use crate::layout::AdapterId;

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
    max_tokens: usize,
    cancel: CancelFlag,
    deadline: Option<Instant>,
    priority: u8,
    adapter: Option<AdapterId>,
    /// Whose it is.
    tenant: PageKey,
    /// The names of its full pages, as far as somebody asked.
    keys: Vec<PageKey>,
    /// How many tokens have their keys and values in the pages.
    num_computed: usize,
    /// How many more the step at hand computes.
    num_planned: usize,
    preempted: bool,
    /// How many younger sequences were admitted while it waited.
    times_passed: usize,
    /// Its pages while it runs.
    pages: Option<BlockTable>,
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
            max_tokens,
            cancel,
            deadline,
            priority: 0,
            adapter: None,
            tenant: PageKey::root(""),
            keys: Vec::new(),
            num_computed: 0,
            num_planned: 0,
            preempted: false,
            times_passed: 0,
            pages: None,
        }
    }

    /// Whose it is: pages are shared among one tenant's sequences.
    pub fn of_tenant(self, tenant: &str) -> Self {
        Self { tenant: PageKey::root(tenant), ..self }
    }

    /// What computes it beside the base: pages are shared among those of one adapter.
    pub fn with_adapter(self, adapter: Option<AdapterId>) -> Self {
        Self { adapter, ..self }
    }

    /// How urgent it is: a level counts like a quarter of the prompt's length, and the lowest is preempted first.
    pub fn with_priority(self, priority: u8) -> Self {
        Self { priority, ..self }
    }

    /// Its name.
    pub fn id(&self) -> SequenceId {
        self.id
    }

    /// What computes it beside the base.
    pub fn adapter(&self) -> Option<AdapterId> {
        self.adapter
    }

    /// How urgent it is.
    pub fn priority(&self) -> u8 {
        self.priority
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

    /// Its pages while it runs.
    pub fn pages(&self) -> Option<&BlockTable> {
        self.pages.as_ref()
    }

    /// Tokens whose keys and values are in its pages.
    pub fn num_computed(&self) -> usize {
        self.num_computed
    }

    /// Takes the token that was sampled; true if it was the last one allowed.
    pub(super) fn append(&mut self, token: u32) -> bool {
        self.tokens.push(token);
        self.num_generated() >= self.max_tokens
    }

    /// The rank of the sequences that decode, before that of every prompt.
    pub(super) const DECODES: i32 = i32::MIN;

    /// Its place among those that compute: the lower, the earlier. Prompts of similar length have the same one, so
    /// that they are computed one after the other.
    pub(super) fn rank(&self) -> i32 {
        if self.is_decoding() {
            return Self::DECODES;
        }
        self.num_pending().ilog2() as i32 - 2 * i32::from(self.priority)
    }

    /// Tokens that are not computed yet.
    fn num_pending(&self) -> usize {
        self.tokens.len() - self.num_computed
    }

    /// Tokens that are not computed yet, and not planned in this step either.
    pub(super) fn num_unplanned(&self) -> usize {
        self.num_pending() - self.num_planned
    }

    /// Whether no more than the latest token is to be computed.
    pub(super) fn is_decoding(&self) -> bool {
        self.num_pending() <= 1
    }

    /// Pages that it lacks for what it has, and for `headroom` tokens of what it may yet generate.
    pub(super) fn missing_pages(&self, headroom: usize) -> usize {
        let tokens = (self.tokens.len() + headroom).min(self.worst_case());
        let held = self.pages.as_ref().map_or(0, |table| table.pages().len());
        tokens.div_ceil(PAGE_TOKENS).saturating_sub(held)
    }

    /// Begins to run, with what others left of its beginning. Returns how many prompt tokens that spares it.
    pub(super) fn start(&mut self, table: BlockTable) -> usize {
        self.pages = Some(table);
        self.begin_step()
    }

    /// Waits again; its computed pages stay cached as long as there is room. Returns how many tokens were planned.
    pub(super) fn preempt(&mut self) -> usize {
        self.withdraw();
        self.preempted = true;
        self.times_passed = 0;
        std::mem::take(&mut self.num_planned)
    }

    /// Gives its pages back as if it had never run.
    pub(super) fn withdraw(&mut self) {
        self.pages = None;
        self.num_computed = 0;
    }

    /// Whether it ran before and waits to be resumed.
    pub(super) fn is_preempted(&self) -> bool {
        self.preempted
    }

    /// A younger sequence was admitted before it.
    pub(super) fn pass(&mut self) {
        self.times_passed += 1;
    }

    /// How many younger sequences were admitted while it waited.
    pub(super) fn times_passed(&self) -> usize {
        self.times_passed
    }

    /// Nothing is planned yet. Takes over pages that others have computed since the step before, and returns how
    /// many prompt tokens that spares it.
    pub(super) fn begin_step(&mut self) -> usize {
        self.num_planned = 0;
        self.take_cached()
    }

    /// Has `more` tokens fit into its pages beside those planned; takes the pages that are missing, all or none.
    pub(super) fn grow(&mut self, more: usize) -> bool {
        let tokens = self.num_computed + self.num_planned + more;
        self.pages.as_mut().is_some_and(|table| table.grow(tokens))
    }

    /// Plans `more` tokens in this step, and names the pages that they complete or that a later step will.
    pub(super) fn plan(&mut self, more: usize, mut fills: impl FnMut(PageKey)) {
        let start = self.num_computed + self.num_planned;
        self.num_planned += more;
        for index in start / PAGE_TOKENS..(start + more).div_ceil(PAGE_TOKENS) {
            if (index + 1) * PAGE_TOKENS <= self.tokens.len() {
                fills(self.key(index));
            }
        }
    }

    /// What the step computes of it, if anything.
    pub(super) fn chunk(&self) -> Option<Chunk> {
        let (id, start, len) = (self.id, self.num_computed, self.num_planned);
        (len > 0).then(|| Chunk { id, start, len, samples: len == self.num_pending() })
    }

    /// Takes over the pages that others computed of what comes next. The last token is always
    /// computed: its logits are wanted. Returns how many prompt tokens are spared; what it computed
    /// itself before it was put back is none of them.
    fn take_cached(&mut self) -> usize {
        let before = self.num_computed;
        while let Some(key) = self.next_page() {
            if !self.pages.as_mut().is_some_and(|table| table.take_cached(&key)) {
                break;
            }
            self.num_computed += PAGE_TOKENS;
        }
        if self.preempted { 0 } else { self.num_computed - before }
    }

    /// The name of the page that comes next, if it may be another sequence's and nothing is planned yet.
    pub(super) fn wanted_page(&mut self) -> Option<PageKey> {
        if self.num_planned > 0 { None } else { self.next_page() }
    }

    /// The name of the page that comes next, if it may be another sequence's: it begins where the
    /// computed tokens end, and it does not hold the last token.
    fn next_page(&mut self) -> Option<PageKey> {
        let index = self.num_computed / PAGE_TOKENS;
        let whole = self.num_computed.is_multiple_of(PAGE_TOKENS);
        (whole && (index + 1) * PAGE_TOKENS < self.tokens.len()).then(|| self.key(index))
    }

    /// The keys and values up to here are in the pages; full pages may be found by others.
    pub(super) fn mark_computed(&mut self, computed: usize) {
        for index in self.num_computed / PAGE_TOKENS..computed / PAGE_TOKENS {
            let key = self.key(index);
            if let Some(table) = &mut self.pages {
                table.keep(index, key);
            }
        }
        self.num_computed = computed;
        self.num_planned = 0;
    }

    /// What is in its pages may be wrong: nobody shall find it.
    pub(super) fn forget(&mut self) {
        if let Some(table) = &mut self.pages {
            table.forget();
        }
    }

    /// The name of a full page.
    fn key(&mut self, index: usize) -> PageKey {
        while self.keys.len() <= index {
            let begin = self.keys.len() * PAGE_TOKENS;
            let root = || self.adapter.map_or(self.tenant, |adapter| self.tenant.adapted(adapter));
            let parent = self.keys.last().copied().unwrap_or_else(root);
            let key = parent.next(&self.tokens[begin..begin + PAGE_TOKENS]);
            self.keys.push(key);
        }
        self.keys[index]
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
