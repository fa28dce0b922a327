//! The page allocator: which pages are free, held or cached.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::PageKey;
use super::plan::StatePlan;
use super::sequence_state::{SequenceState, StateSlotsOfStep};
use super::states::StateSlots;
use crate::layout::PAGE_TOKENS;

/// Tracks each page's holders and its cached content. Clones share the pages.
///
/// A page is held by one or more tables, or it is free. A free page is blank or cached: a cached
/// page keeps its contents under its [`PageKey`] and is reused only when no blank page is left, the
/// least recently held first.
#[derive(Debug, Clone)]
pub struct PageAllocator {
    pages: Arc<Mutex<Pages>>,
    total: usize,
    /// The slots of recurrent state, in hybrid models.
    states: Option<StateSlots>,
}

#[derive(Debug)]
struct Pages {
    /// `[pages]`
    states: Vec<Page>,
    /// Free pages without cached content.
    blank: Vec<u32>,
    /// Free pages with cached content, by the time they became free.
    cached: BTreeMap<u64, u32>,
    /// Pages with a key, held or free.
    by_key: HashMap<PageKey, u32>,
    /// Incremented each time a page is cached.
    clock: u64,
}

#[derive(Debug, Clone, Default)]
struct Page {
    /// The number of tables that hold it.
    holders: usize,
    /// Its key, if `by_key` maps the key to this page.
    key: Option<PageKey>,
    /// The clock when it became free, while it is cached.
    freed: u64,
}

impl Pages {
    fn num_free(&self) -> usize {
        self.blank.len() + self.cached.len()
    }

    /// Takes a page for a new holder: a blank one, or the least recently held cached one.
    fn take(&mut self) -> Option<u32> {
        let page = match self.blank.pop() {
            Some(page) => page,
            None => {
                let (_, page) = self.cached.pop_first()?;
                if let Some(key) = self.states[page as usize].key.take() {
                    self.by_key.remove(&key);
                }
                page
            }
        };
        self.states[page as usize].holders = 1;
        Some(page)
    }

    /// Adds a holder to the page with this key.
    fn take_cached(&mut self, key: &PageKey) -> Option<u32> {
        let page = *self.by_key.get(key)?;
        let state = &mut self.states[page as usize];
        if state.holders == 0 {
            self.cached.remove(&state.freed);
        }
        state.holders += 1;
        Some(page)
    }

    /// Registers a page's contents under a key. If another page has the key, that one stays
    /// registered.
    fn keep(&mut self, page: u32, key: PageKey) {
        if let Entry::Vacant(entry) = self.by_key.entry(key) {
            entry.insert(page);
            self.states[page as usize].key = Some(key);
        }
    }

    fn forget(&mut self, page: u32) {
        if let Some(key) = self.states[page as usize].key.take() {
            self.by_key.remove(&key);
        }
    }

    fn give_back(&mut self, page: u32) {
        let state = &mut self.states[page as usize];
        state.holders -= 1;
        if state.holders > 0 {
            return;
        }
        if state.key.is_some() {
            self.clock += 1;
            state.freed = self.clock;
            self.cached.insert(self.clock, page);
        } else {
            self.blank.push(page);
        }
    }
}

impl PageAllocator {
    /// Creates an allocator of `pages` pages, all blank.
    pub fn new(pages: usize) -> Self {
        let state = Pages {
            states: vec![Page::default(); pages],
            // Pages are taken from the end, so low ones come first and a light load touches little
            // memory.
            blank: (0..pages as u32).rev().collect(),
            cached: BTreeMap::new(),
            by_key: HashMap::new(),
            clock: 0,
        };
        Self { pages: Arc::new(Mutex::new(state)), total: pages, states: None }
    }

    /// Gives each sequence a slot of recurrent state, too. Pages are then only reused up to a checkpoint.
    pub fn with_states(self, plan: StatePlan) -> Self {
        Self { states: Some(StateSlots::new(plan)), ..self }
    }

    /// The plan of the slots of recurrent state, in hybrid models.
    pub fn state_plan(&self) -> Option<StatePlan> {
        self.states.as_ref().map(StateSlots::plan)
    }

    /// Whether a new sequence gets a slot of recurrent state, or needs none.
    pub fn has_free_state(&self) -> bool {
        self.states.as_ref().is_none_or(StateSlots::has_free)
    }

    /// The number of recurrent states that sequences may continue from.
    pub fn num_checkpoints(&self) -> usize {
        self.states.as_ref().map_or(0, StateSlots::num_checkpoints)
    }

    /// Whether a page has this key.
    pub(crate) fn is_cached(&self, key: &PageKey) -> bool {
        self.lock().by_key.contains_key(key)
    }

    /// Creates a table without pages.
    pub fn table(&self) -> BlockTable {
        BlockTable { pages: Vec::new(), state: None, home: self.clone() }
    }

    /// Creates a table with blank pages for `tokens` tokens. Returns `None` if there are not enough
    /// pages.
    pub fn reserve(&self, tokens: usize) -> Option<BlockTable> {
        let mut table = self.table();
        table.grow(tokens).then_some(table)
    }

    /// The number of free pages, blank and cached.
    pub fn free_pages(&self) -> usize {
        self.lock().num_free()
    }

    /// The number of cached free pages.
    pub fn cached_pages(&self) -> usize {
        self.lock().cached.len()
    }

    /// The number of pages.
    pub fn total_pages(&self) -> usize {
        self.total
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        // A poisoned lock would need a bug in this file: no other code runs under it.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sequence's pages, in the order of its tokens, and its slot of recurrent state in hybrid models.
/// Dropping it gives up its hold on them; pages without other holders become free.
#[derive(Debug)]
pub struct BlockTable {
    pages: Vec<u32>,
    /// Taken with the first pages.
    state: Option<SequenceState>,
    home: PageAllocator,
}

impl BlockTable {
    /// The pages, in the order of the tokens.
    pub fn pages(&self) -> &[u32] {
        &self.pages
    }

    /// The number of tokens that fit into the pages.
    pub fn capacity(&self) -> usize {
        self.pages.len() * PAGE_TOKENS
    }

    /// Takes pages until `tokens` fit, and a slot of recurrent state if the model needs one. Returns
    /// `false`, and takes none, if there are not enough.
    pub fn grow(&mut self, tokens: usize) -> bool {
        self.grow_leaving(tokens, 0)
    }

    /// As [`grow`](Self::grow), but takes no page unless `spare` pages stay free.
    pub fn grow_leaving(&mut self, tokens: usize, spare: usize) -> bool {
        if !self.take_state() {
            return false;
        }
        let missing = tokens.div_ceil(PAGE_TOKENS).saturating_sub(self.pages.len());
        let mut home = self.home.lock();
        if missing > 0 && home.num_free() < missing + spare {
            return false;
        }
        self.pages.extend((0..missing).map_while(|_| home.take()));
        true
    }

    /// Appends the page with this key. Returns `false` if no page has it.
    pub fn take_cached(&mut self, key: &PageKey) -> bool {
        let page = self.home.lock().take_cached(key);
        self.pages.extend(page);
        page.is_some()
    }

    /// Whether sequences have recurrent states beside their pages.
    pub(crate) fn has_states(&self) -> bool {
        self.home.states.is_some()
    }

    /// The number of pages of a prompt between two checkpoints, in hybrid models.
    pub(crate) fn state_interval(&self) -> Option<usize> {
        self.home.state_plan().map(|plan| plan.interval)
    }

    /// Whether a page has this key.
    pub(crate) fn is_cached(&self, key: &PageKey) -> bool {
        self.home.is_cached(key)
    }

    /// Takes a slot of recurrent state, if the model needs one and there is none yet. Returns `false` if
    /// all are held.
    fn take_state(&mut self) -> bool {
        let Some(states) = &self.home.states else { return true };
        if self.state.is_none() {
            self.state = states.take().map(SequenceState::new);
        }
        self.state.is_some()
    }

    /// Appends the pages with these keys, up to the last one that has a checkpoint, from which the next rows
    /// continue. Returns the number of pages.
    pub fn take_cached_with_state(&mut self, keys: &[PageKey]) -> usize {
        let Some(states) = self.home.states.clone() else { return 0 };
        let last = keys.iter().rposition(|key| states.contains(key));
        let Some(pin) = last.and_then(|last| states.pin(&keys[last])) else { return 0 };
        if !self.take_state() {
            return 0;
        }
        let count = last.map_or(0, |last| last + 1);
        let before = self.pages.len();
        if keys[..count].iter().all(|key| self.take_cached(key)) {
            let tokens = self.capacity();
            if let Some(state) = &mut self.state {
                state.continue_from(tokens, pin);
            }
            return count;
        }
        // A page was taken for other contents meanwhile.
        let mut home = self.home.lock();
        self.pages.drain(before..).rev().for_each(|page| home.give_back(page));
        0
    }

    /// Plans a checkpoint after the first `pages` pages, which the next step computes. `key` is that of the
    /// last of them. Call in ascending order.
    pub fn save_state(&mut self, pages: usize, key: &PageKey) {
        if let (Some(states), Some(state)) = (&self.home.states, &mut self.state) {
            state.save(pages, key, states);
        }
    }

    /// Publishes the planned checkpoints, which are written. `key` returns the key of a page; of the
    /// checkpoints after the first `prompt_len` tokens only the last is kept.
    pub fn publish_states(&mut self, prompt_len: usize, key: impl FnMut(usize) -> PageKey) {
        if let (Some(states), Some(state)) = (&self.home.states, &mut self.state) {
            state.publish(states, prompt_len, key);
        }
    }

    /// Removes checkpoints whose content may be wrong.
    pub fn forget_states(&mut self, keys: &[PageKey]) {
        if let Some(states) = &self.home.states {
            keys.iter().for_each(|key| states.forget(key));
        }
    }

    /// Returns the slots of recurrent state for rows that begin after `start` tokens, in hybrid models.
    pub(crate) fn state_slots(&self, start: usize) -> Option<StateSlotsOfStep> {
        self.state.as_ref().map(|state| state.slots(start))
    }

    /// Registers the page at `index` under `key`, so that other sequences find it. It must be full:
    /// a registered page is never written again.
    pub fn keep(&mut self, index: usize, key: PageKey) {
        self.home.lock().keep(self.pages[index], key);
    }

    /// Unregisters the table's pages, since their contents may be wrong. No sequence finds them any
    /// more.
    pub fn forget(&mut self) {
        let mut home = self.home.lock();
        for page in &self.pages {
            home.forget(*page);
        }
    }
}

impl Drop for BlockTable {
    fn drop(&mut self) {
        let mut home = self.home.lock();
        // The last page first, so that it is reused first: it is of no use without the pages before
        // it.
        for page in self.pages.drain(..).rev() {
            home.give_back(page);
        }
    }
}

#[cfg(test)]
mod tests;
