//! The recurrent state of one sequence.

use super::PageKey;
use super::states::{CheckpointSlot, Pin, SequenceSlot, StateSlots};
use crate::layout::PAGE_TOKENS;

/// A sequence's slot, the checkpoint that it continues from, and those that its step writes.
#[derive(Debug)]
pub(super) struct SequenceState {
    own: SequenceSlot,
    /// The checkpoint that its next rows continue from, and the number of tokens before it.
    from: Option<(usize, Pin)>,
    /// The checkpoints that the current step writes, with the number of tokens before each.
    saving: Vec<(usize, CheckpointSlot)>,
    /// The last checkpoint of its answer, which a later one replaces.
    of_answer: Option<PageKey>,
}

/// The slots that a step reads and writes for a sequence.
#[derive(Debug, Clone)]
pub(crate) struct StateSlotsOfStep {
    /// The state before the rows; `None` at the beginning.
    pub(crate) from: Option<u32>,
    /// The state after the rows.
    pub(crate) to: u32,
    /// The number of tokens before a checkpoint, and its slot.
    pub(crate) saves: Vec<(usize, u32)>,
}

impl SequenceState {
    pub(super) fn new(own: SequenceSlot) -> Self {
        Self { own, from: None, saving: Vec::new(), of_answer: None }
    }

    /// Makes the next rows, which begin after `tokens` tokens, continue from a checkpoint.
    pub(super) fn continue_from(&mut self, tokens: usize, pin: Pin) {
        self.from = Some((tokens, pin));
    }

    /// Returns the slots for rows that begin after `start` tokens.
    pub(super) fn slots(&self, start: usize) -> StateSlotsOfStep {
        let from = match &self.from {
            Some((tokens, pin)) if *tokens == start => Some(pin.slot()),
            _ => (start > 0).then_some(self.own.slot()),
        };
        let saves = self.saving.iter().filter_map(|(tokens, slot)| Some((*tokens, slot.slot()?)));
        StateSlotsOfStep { from, to: self.own.slot(), saves: saves.collect() }
    }

    /// Plans a checkpoint after the first `pages` pages, unless there is one with this key or no slot. Call in
    /// ascending order.
    pub(super) fn save(&mut self, pages: usize, key: &PageKey, slots: &StateSlots) {
        if !slots.contains(key)
            && let Some(slot) = slots.take_blank()
        {
            self.saving.push((pages * PAGE_TOKENS, slot));
        }
    }

    /// Publishes the planned checkpoints, which are written. `key` returns the key of a page; those after
    /// `prompt_len` tokens replace the last one.
    pub(super) fn publish(
        &mut self,
        slots: &StateSlots,
        prompt_len: usize,
        mut key: impl FnMut(usize) -> PageKey,
    ) {
        self.from = None;
        for (tokens, slot) in self.saving.drain(..) {
            let key = key(tokens / PAGE_TOKENS - 1);
            slot.publish(key);
            if tokens > prompt_len
                && let Some(last) = self.of_answer.replace(key)
            {
                slots.forget(&last);
            }
        }
    }
}
