//! Which slots of recurrent state are free, held by sequences, or hold checkpoints.
//!
//! A checkpoint is the state after the last token of a page, and has that page's key. A sequence that reuses pages
//! continues from the checkpoint of the last of them. Sequences and checkpoints have slots of their own, so that a
//! sequence never waits for a slot because of checkpoints.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::PageKey;
use super::plan::StatePlan;

/// The slots of an engine. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct StateSlots {
    slots: Arc<Mutex<Slots>>,
    plan: StatePlan,
}

#[derive(Debug)]
struct Slots {
    /// Free slots for sequences.
    free: Vec<u32>,
    /// Free slots for checkpoints.
    blank: Vec<u32>,
    /// The slots of checkpoints.
    by_key: HashMap<PageKey, u32>,
    /// The checkpoints, by their slots.
    checkpoints: HashMap<u32, Checkpoint>,
    /// The checkpoints that nobody is about to continue from, by the time of their last use.
    by_use: BTreeMap<u64, u32>,
    /// Incremented at each use.
    clock: u64,
}

#[derive(Debug)]
struct Checkpoint {
    key: PageKey,
    /// The number of sequences that are about to continue from it.
    pins: usize,
    /// The clock at its last use.
    used: u64,
    /// Whether its slot becomes blank when the last pin is dropped.
    forgotten: bool,
}

impl Slots {
    fn touch(&mut self, slot: u32) {
        self.clock += 1;
        let clock = self.clock;
        if let Some(checkpoint) = self.checkpoints.get_mut(&slot) {
            self.by_use.remove(&checkpoint.used);
            checkpoint.used = clock;
            if checkpoint.pins == 0 {
                self.by_use.insert(clock, slot);
            }
        }
    }

    fn remove(&mut self, slot: u32) {
        if let Some(checkpoint) = self.checkpoints.remove(&slot) {
            self.by_use.remove(&checkpoint.used);
            if self.by_key.get(&checkpoint.key) == Some(&slot) {
                self.by_key.remove(&checkpoint.key);
            }
        }
    }

    fn forget(&mut self, key: &PageKey) {
        let Some(slot) = self.by_key.remove(key) else { return };
        match self.checkpoints.get_mut(&slot) {
            Some(checkpoint) if checkpoint.pins > 0 => checkpoint.forgotten = true,
            _ => {
                self.remove(slot);
                self.blank.push(slot);
            }
        }
    }
}

impl StateSlots {
    pub(super) fn new(plan: StatePlan) -> Self {
        let (sequences, all) = (plan.sequences as u32, (plan.sequences + plan.checkpoints) as u32);
        // Slots are taken from the end, so low ones come first and a light load touches little memory.
        let slots = Slots {
            free: (0..sequences).rev().collect(),
            blank: (sequences..all).rev().collect(),
            by_key: HashMap::new(),
            checkpoints: HashMap::new(),
            by_use: BTreeMap::new(),
            clock: 0,
        };
        Self { slots: Arc::new(Mutex::new(slots)), plan }
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        // A poisoned lock would need a bug in this file: no other code runs under it.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn plan(&self) -> StatePlan {
        self.plan
    }

    /// Whether a sequence that has no slot would get one.
    pub(super) fn has_free(&self) -> bool {
        !self.lock().free.is_empty()
    }

    /// The number of checkpoints that sequences may find.
    pub(super) fn num_checkpoints(&self) -> usize {
        self.lock().by_key.len()
    }

    /// Takes a slot for a sequence. Returns `None` if all are held.
    pub(super) fn take(&self) -> Option<SequenceSlot> {
        let slot = self.lock().free.pop()?;
        Some(SequenceSlot { slot, home: self.clone() })
    }

    /// Takes a slot for a checkpoint: a blank one, or that of the checkpoint that was unused for longest. Returns `None`
    /// if sequences are about to continue from all of them.
    pub(super) fn take_blank(&self) -> Option<CheckpointSlot> {
        let mut slots = self.lock();
        let slot = match slots.blank.pop() {
            Some(slot) => slot,
            None => {
                let slot = *slots.by_use.first_key_value()?.1;
                slots.remove(slot);
                slot
            }
        };
        Some(CheckpointSlot { slot: Some(slot), home: self.clone() })
    }

    /// Whether there is a checkpoint with this key.
    pub(super) fn contains(&self, key: &PageKey) -> bool {
        self.lock().by_key.contains_key(key)
    }

    /// Finds a checkpoint, which is kept until the result is dropped.
    pub(super) fn pin(&self, key: &PageKey) -> Option<Pin> {
        let mut slots = self.lock();
        let slot = *slots.by_key.get(key)?;
        let checkpoint = slots.checkpoints.get_mut(&slot)?;
        checkpoint.pins += 1;
        slots.touch(slot);
        Some(Pin { slot, home: self.clone() })
    }

    /// Removes a checkpoint.
    pub(super) fn forget(&self, key: &PageKey) {
        self.lock().forget(key);
    }
}

/// The slot of a sequence's state, which is free again when it is dropped.
#[derive(Debug)]
pub(super) struct SequenceSlot {
    slot: u32,
    home: StateSlots,
}

impl SequenceSlot {
    pub(super) fn slot(&self) -> u32 {
        self.slot
    }
}

impl Drop for SequenceSlot {
    fn drop(&mut self) {
        self.home.lock().free.push(self.slot);
    }
}

/// A slot that a step writes a checkpoint to. It is blank again when it is dropped, unless it was published.
#[derive(Debug)]
pub(super) struct CheckpointSlot {
    slot: Option<u32>,
    home: StateSlots,
}

impl CheckpointSlot {
    pub(super) fn slot(&self) -> Option<u32> {
        self.slot
    }

    /// Lets sequences find the checkpoint, whose state is written. If there is one with this key already, that one
    /// stays.
    pub(super) fn publish(mut self, key: PageKey) {
        let mut slots = self.home.lock();
        if slots.by_key.contains_key(&key) {
            return drop(slots);
        }
        if let Some(slot) = self.slot.take() {
            slots.by_key.insert(key, slot);
            slots.checkpoints.insert(slot, Checkpoint { key, pins: 0, used: 0, forgotten: false });
            slots.touch(slot);
        }
        drop(slots);
    }
}

impl Drop for CheckpointSlot {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.home.lock().blank.push(slot);
        }
    }
}

/// A checkpoint that a sequence is about to continue from: its slot is not written until this is dropped.
#[derive(Debug)]
pub(super) struct Pin {
    slot: u32,
    home: StateSlots,
}

impl Pin {
    pub(super) fn slot(&self) -> u32 {
        self.slot
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut slots = self.home.lock();
        let Some(checkpoint) = slots.checkpoints.get_mut(&self.slot) else { return };
        checkpoint.pins -= 1;
        match (checkpoint.pins, checkpoint.forgotten) {
            (0, true) => {
                slots.remove(self.slot);
                slots.blank.push(self.slot);
            }
            (0, false) => slots.touch(self.slot),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(count: usize) -> Vec<PageKey> {
        let mut key = PageKey::root("a");
        let mut next = || {
            key = key.next(&[0; crate::layout::PAGE_TOKENS]);
            key
        };
        (0..count).map(|_| next()).collect()
    }

    fn slots(sequences: usize, checkpoints: usize) -> StateSlots {
        StateSlots::new(StatePlan { sequences, checkpoints, interval: 1, bytes: 0 })
    }

    #[test]
    fn sequence_slots_return_when_dropped() {
        let all = slots(2, 1);
        let (first, second) = (all.take().unwrap(), all.take().unwrap());
        assert_eq!((first.slot(), second.slot(), all.has_free()), (0, 1, false));
        assert!(all.take().is_none());
        drop(first);
        assert_eq!(all.take().unwrap().slot(), 0);
    }

    #[test]
    fn least_recently_used_unpinned_checkpoints_are_replaced() {
        let (all, keys) = (slots(1, 2), keys(4));
        for key in &keys[..2] {
            all.take_blank().unwrap().publish(*key);
        }
        // The first is used again, so the second is the oldest.
        drop(all.pin(&keys[0]).unwrap());
        all.take_blank().unwrap().publish(keys[2]);
        assert_eq!(
            keys[..3].iter().map(|key| all.contains(key)).collect::<Vec<_>>(),
            [true, false, true]
        );
        let pins = [all.pin(&keys[0]).unwrap(), all.pin(&keys[2]).unwrap()];
        assert_ne!(pins[0].slot(), pins[1].slot());
        assert!(all.take_blank().is_none(), "both are pinned");
        drop(pins);
        all.take_blank().unwrap().publish(keys[3]);
        assert!(!all.contains(&keys[0]) && all.contains(&keys[3]));
        assert_eq!(all.num_checkpoints(), 2);
    }

    #[test]
    fn forgotten_and_unpublished_checkpoints_free_their_slots() {
        let (all, keys) = (slots(1, 1), keys(2));
        drop(all.take_blank().unwrap());
        all.take_blank().unwrap().publish(keys[0]);
        let pin = all.pin(&keys[0]).unwrap();
        all.forget(&keys[0]);
        assert!(!all.contains(&keys[0]) && all.take_blank().is_none(), "it is still read");
        drop(pin);
        all.take_blank().unwrap().publish(keys[1]);
        // A second one with the same key is not kept.
        drop(all.pin(&keys[1]));
        assert_eq!(all.num_checkpoints(), 1);
        all.forget(&keys[1]);
        assert!(all.take_blank().is_some());
    }
}
