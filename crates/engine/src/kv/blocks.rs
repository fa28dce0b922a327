//! The page allocator: which pages are free, held or cached.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::PageKey;
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
        Self { pages: Arc::new(Mutex::new(state)), total: pages }
    }

    /// Creates a table without pages.
    pub fn table(&self) -> BlockTable {
        BlockTable { pages: Vec::new(), home: self.clone() }
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

/// A sequence's pages, in the order of its tokens. Dropping it gives up its hold on them; pages
/// without other holders become free.
#[derive(Debug)]
pub struct BlockTable {
    pages: Vec<u32>,
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

    /// Takes pages until `tokens` fit. Returns `false`, and takes none, if there are not enough.
    pub fn grow(&mut self, tokens: usize) -> bool {
        let missing = tokens.div_ceil(PAGE_TOKENS).saturating_sub(self.pages.len());
        let mut home = self.home.lock();
        if home.num_free() < missing {
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
