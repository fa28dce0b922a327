//! [`Recent`]: a map that forgets its oldest entries.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A map of at most a fixed number of entries. A new one takes the place of the oldest.
pub(super) struct Recent<K, V> {
    most: usize,
    entries: HashMap<K, V>,
    /// The keys, the oldest first.
    order: VecDeque<K>,
}

impl<K: Hash + Eq + Clone, V: Copy> Recent<K, V> {
    /// Creates an empty map.
    pub(super) fn new(most: usize) -> Self {
        Self { most, entries: HashMap::new(), order: VecDeque::new() }
    }

    pub(super) fn get(&self, key: &K) -> Option<V> {
        self.entries.get(key).copied()
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.entries.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > self.most {
            if let Some(oldest) = self.order.pop_front() {
                self.entries.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entry_makes_room() {
        let mut recent = Recent::new(2);
        for key in 0..3 {
            recent.insert(key, key * 10);
            recent.insert(key, key * 100);
        }
        assert_eq!([0, 1, 2].map(|key| recent.get(&key)), [None, Some(100), Some(200)]);
    }
}
