//! [`Used`]: when keys were used, until it is stored.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use protocol::{KeyId, Timestamp};

/// The times of the latest uses that are not stored yet.
#[derive(Default)]
pub(super) struct Used(Mutex<HashMap<KeyId, Timestamp>>);

impl Used {
    /// Notes a use.
    pub(super) fn note(&self, key: &KeyId, at: Timestamp) {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match used.get_mut(key) {
            Some(latest) => *latest = at,
            None => {
                used.insert(key.clone(), at);
            }
        }
    }

    /// Takes all notes.
    pub(super) fn take(&self) -> Vec<(KeyId, Timestamp)> {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *used).into_iter().collect()
    }

    /// Gives back notes that could not be stored, unless there are later ones.
    pub(super) fn give_back(&self, notes: Vec<(KeyId, Timestamp)>) {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, at) in notes {
            used.entry(key).or_insert(at);
        }
    }
}
