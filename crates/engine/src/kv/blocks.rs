//! Which pages are free, and who holds the others.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::PAGE_TOKENS;

/// Knows which pages are free. Clones share the pages.
#[derive(Debug, Clone)]
pub struct PageAllocator {
    free: Arc<Mutex<Vec<u32>>>,
    total: usize,
}

impl PageAllocator {
    /// All of `pages` pages, free.
    pub fn new(pages: usize) -> Self {
        // Taken from the end: low pages first, so that a light load touches little memory.
        let free = (0..pages as u32).rev().collect();
        Self { free: Arc::new(Mutex::new(free)), total: pages }
    }

    /// Pages for this many tokens, all or none.
    pub fn reserve(&self, tokens: usize) -> Option<BlockTable> {
        let pages = tokens.div_ceil(PAGE_TOKENS);
        let mut free = self.lock();
        let rest = free.len().checked_sub(pages)?;
        let mut pages = free.split_off(rest);
        pages.reverse();
        Some(BlockTable { pages, home: self.clone() })
    }

    /// How many pages are free.
    pub fn free_pages(&self) -> usize {
        self.lock().len()
    }

    /// How many pages there are.
    pub fn total_pages(&self) -> usize {
        self.total
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u32>> {
        // A push or a split cannot be left half done, so a poisoned list is still sound.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sequence's pages, in the order of its tokens; dropped, they are free again.
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
}

impl Drop for BlockTable {
    fn drop(&mut self) {
        self.home.lock().extend(self.pages.drain(..).rev());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_reserved_all_or_none_and_come_back() {
        let allocator = PageAllocator::new(4);
        let first = allocator.reserve(PAGE_TOKENS + 1).unwrap();
        assert_eq!(first.pages(), [0, 1]);
        assert_eq!(first.capacity(), 2 * PAGE_TOKENS);
        assert!(allocator.reserve(3 * PAGE_TOKENS).is_none());
        assert_eq!(allocator.free_pages(), 2);
        let second = allocator.reserve(2 * PAGE_TOKENS).unwrap();
        assert_eq!(allocator.free_pages(), 0);
        drop(first);
        assert_eq!(allocator.free_pages(), 2);
        drop(second);
        assert_eq!(allocator.free_pages(), allocator.total_pages());
    }

    #[test]
    fn no_page_has_two_holders() {
        use rand::{Rng, SeedableRng};
        let mut random = rand::rngs::StdRng::seed_from_u64(3);
        let allocator = PageAllocator::new(50);
        let mut held: Vec<BlockTable> = Vec::new();
        for _ in 0..2_000 {
            if random.random_bool(0.5) {
                held.extend(allocator.reserve(random.random_range(1..300)));
            } else if !held.is_empty() {
                held.swap_remove(random.random_range(0..held.len()));
            }
            let mut pages: Vec<u32> =
                held.iter().flat_map(|table| table.pages().to_vec()).collect();
            assert_eq!(pages.len() + allocator.free_pages(), 50);
            pages.sort_unstable();
            pages.dedup();
            assert_eq!(pages.len() + allocator.free_pages(), 50);
        }
    }
}
