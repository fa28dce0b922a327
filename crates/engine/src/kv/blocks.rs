//! Which pages are free, who holds the others, and which hold what somebody may ask for again.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{PAGE_TOKENS, PageKey};

/// Knows every page's holders and what it keeps. Clones share the pages.
///
/// A page is held by one or more tables, or free. A free page is blank, or cached: it keeps its
/// contents under its [`PageKey`] until all blank pages are used up, the least recently held go
/// first.
#[derive(Debug, Clone)]
pub struct PageAllocator {
    pages: Arc<Mutex<Pages>>,
    total: usize,
}

#[derive(Debug)]
struct Pages {
    /// `[pages]`
    states: Vec<Page>,
    /// Free pages that keep nothing.
    blank: Vec<u32>,
    /// Free pages that keep something, by the time they became free.
    cached: BTreeMap<u64, u32>,
    /// Pages that keep something, held or free.
    by_key: HashMap<PageKey, u32>,
    /// Counts the pages that became free.
    clock: u64,
}

#[derive(Debug, Clone, Default)]
struct Page {
    /// Tables that hold it.
    holders: usize,
    /// What it keeps, where it is the page that `by_key` names.
    key: Option<PageKey>,
    /// When it became free, while it is cached.
    freed: u64,
}

impl Pages {
    fn num_free(&self) -> usize {
        self.blank.len() + self.cached.len()
    }

    /// A page for a new holder: blank, or the one that lay unused for longest.
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

    /// Another holder for the page of this name.
    fn take_cached(&mut self, key: &PageKey) -> Option<u32> {
        let page = *self.by_key.get(key)?;
        let state = &mut self.states[page as usize];
        if state.holders == 0 {
            self.cached.remove(&state.freed);
        }
        state.holders += 1;
        Some(page)
    }

    /// Has the page keep what is in it. Of two equal pages the first stays known.
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
    /// All of `pages` pages, free and blank.
    pub fn new(pages: usize) -> Self {
        let state = Pages {
            states: vec![Page::default(); pages],
            // Taken from the end: low pages first, so that a light load touches little memory.
            blank: (0..pages as u32).rev().collect(),
            cached: BTreeMap::new(),
            by_key: HashMap::new(),
            clock: 0,
        };
        Self { pages: Arc::new(Mutex::new(state)), total: pages }
    }

    /// A table without pages.
    pub fn table(&self) -> BlockTable {
        BlockTable { pages: Vec::new(), home: self.clone() }
    }

    /// A table with blank pages for this many tokens, all or none.
    pub fn reserve(&self, tokens: usize) -> Option<BlockTable> {
        let mut table = self.table();
        table.grow(tokens).then_some(table)
    }

    /// How many pages nobody holds, cached ones included.
    pub fn free_pages(&self) -> usize {
        self.lock().num_free()
    }

    /// How many of the free pages keep something.
    pub fn cached_pages(&self) -> usize {
        self.lock().cached.len()
    }

    /// How many pages there are.
    pub fn total_pages(&self) -> usize {
        self.total
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        // Nothing under the lock panics short of a bug in this file.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sequence's pages, in the order of its tokens; dropped, they are free again unless others hold
/// them too.
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

    /// How many tokens fit.
    pub fn capacity(&self) -> usize {
        self.pages.len() * PAGE_TOKENS
    }

    /// Takes pages until `tokens` fit, all or none; false if there are not enough.
    pub fn grow(&mut self, tokens: usize) -> bool {
        let missing = tokens.div_ceil(PAGE_TOKENS).saturating_sub(self.pages.len());
        let mut home = self.home.lock();
        if home.num_free() < missing {
            return false;
        }
        self.pages.extend((0..missing).map_while(|_| home.take()));
        true
    }

    /// Takes the page of this name as the next one; false if it is not kept.
    pub fn take_cached(&mut self, key: &PageKey) -> bool {
        let page = self.home.lock().take_cached(key);
        self.pages.extend(page);
        page.is_some()
    }

    /// The page at `index` is full and will not change: it may be found under this name.
    pub fn keep(&mut self, index: usize, key: PageKey) {
        self.home.lock().keep(self.pages[index], key);
    }

    /// Nobody shall find these pages any more: what is in them may be wrong.
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
        // The last page first: without those before it a page is of no use, so it shall go first.
        for page in self.pages.drain(..).rev() {
            home.give_back(page);
        }
    }
}

#[cfg(test)]
mod tests;
