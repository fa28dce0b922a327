//! Names that occur in a log (models, owners, kinds of errors), each with a number. Their count is bounded; names
//! beyond it are one group, so that memory is bounded for any log.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use foldhash::fast::RandomState;

/// The maximum length of a kept name in bytes.
const MAX_NAME: usize = 200;

/// Names that all threads share, so that each of them has its own group in all threads, or in none.
#[derive(Debug)]
pub(crate) struct Names {
    limit: usize,
    numbers: RwLock<HashMap<Box<[u8]>, usize>>,
}

impl Names {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, numbers: RwLock::default() })
    }

    /// Returns the number of a name. The first names get the numbers from 0, all others share `limit`.
    fn number(&self, name: &[u8]) -> usize {
        let numbers = self.numbers.read().unwrap_or_else(PoisonError::into_inner);
        match numbers.get(name) {
            Some(number) => return *number,
            None if numbers.len() >= self.limit => return self.limit,
            None => drop(numbers),
        }
        let mut numbers = self.numbers.write().unwrap_or_else(PoisonError::into_inner);
        let next = numbers.len();
        match numbers.get(name) {
            Some(number) => *number,
            None if next >= self.limit => self.limit,
            None => *numbers.entry(name.into()).or_insert(next),
        }
    }

    fn all(&self) -> Vec<(usize, String)> {
        let numbers = self.numbers.read().unwrap_or_else(PoisonError::into_inner);
        numbers
            .iter()
            .map(|(name, number)| (*number, String::from_utf8_lossy(name).into()))
            .collect()
    }
}

/// One thread's values of type `T`, one for each name.
#[derive(Debug)]
pub(crate) struct ByName<T> {
    names: Arc<Names>,
    /// Numbers that this thread has asked for.
    known: HashMap<Box<[u8]>, usize, RandomState>,
    values: Vec<Option<T>>,
}

/// The values of all threads.
#[derive(Debug)]
pub(crate) struct Named<T> {
    /// In no order.
    pub(crate) values: Vec<(String, T)>,
    /// The value of all names that have none of their own.
    pub(crate) others: Option<T>,
}

impl<T> ByName<T> {
    pub(crate) fn new(names: Arc<Names>) -> Self {
        let values = (0..=names.limit).map(|_| None).collect();
        Self { names, known: HashMap::default(), values }
    }

    /// Returns the value of a name, `new` if it has none.
    #[inline]
    pub(crate) fn get(&mut self, name: &[u8], new: impl FnOnce() -> T) -> &mut T {
        let name = &name[..name.len().min(MAX_NAME)];
        let number = match self.known.get(name) {
            Some(number) => *number,
            None => self.look_up(name),
        };
        self.values[number].get_or_insert_with(new)
    }

    #[cold]
    fn look_up(&mut self, name: &[u8]) -> usize {
        let number = self.names.number(name);
        if number < self.names.limit {
            self.known.insert(name.into(), number);
        }
        number
    }

    /// Adds the values of another thread with the same names.
    pub(crate) fn merge(&mut self, other: Self, mut merge: impl FnMut(&mut T, T)) {
        for (mine, theirs) in self.values.iter_mut().zip(other.values) {
            match (mine.as_mut(), theirs) {
                (Some(mine), Some(theirs)) => merge(mine, theirs),
                (None, theirs) => *mine = theirs,
                (Some(_), None) => {}
            }
        }
    }

    pub(crate) fn into_named(mut self) -> Named<T> {
        let others = self.values.pop().flatten();
        let names = self.names.all();
        let values = names
            .into_iter()
            .filter_map(|(number, name)| Some((name, self.values[number].take()?)));
        Named { values: values.collect(), others }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_limit_are_one_group_in_all_threads() {
        let names = Names::new(2);
        let (mut one, mut other) = (ByName::new(Arc::clone(&names)), ByName::new(names));
        for name in ["a", "b", "a", "c", "d"] {
            *one.get(name.as_bytes(), || 0) += 1;
        }
        for name in ["d", "c", "b", "b"] {
            *other.get(name.as_bytes(), || 0) += 1;
        }
        one.merge(other, |mine, theirs| *mine += theirs);
        let mut named = one.into_named();
        named.values.sort();
        assert_eq!(named.values, [("a".to_owned(), 2), ("b".to_owned(), 3)]);
        assert_eq!(named.others, Some(4));
    }

    #[test]
    fn long_names_are_cut() {
        let mut counts = ByName::new(Names::new(1));
        *counts.get(&[b'x'; 1_000], || 0) += 1;
        assert_eq!(counts.into_named().values, [("x".repeat(MAX_NAME), 1)]);
    }
}
