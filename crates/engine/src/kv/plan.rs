//! Computes how many pages a worker can afford.

use crate::layout::{KvShape, PAGE_TOKENS, StateShape};

/// The number of pages, and the resulting bound on the length of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvPlan {
    /// The number of pages in the pool.
    pub pages: usize,
    /// The most tokens of one sequence, prompt and answer together.
    pub context_length: usize,
    /// The pool's size in bytes when every page is in use.
    pub bytes: usize,
}

impl KvPlan {
    /// Plans pages for `max_batch` sequences of `context_length` tokens within `memory` bytes, or
    /// for exactly `kv_tokens` tokens if set, whatever the memory. One sequence may use the whole
    /// pool.
    pub fn new(
        shape: KvShape,
        context_length: usize,
        max_batch: usize,
        kv_tokens: Option<usize>,
        memory: usize,
    ) -> Self {
        let wanted = kv_tokens.unwrap_or_else(|| context_length.saturating_mul(max_batch));
        let affordable = memory / shape.bytes_per_token().max(1);
        let tokens = if kv_tokens.is_some() { wanted } else { wanted.min(affordable) };
        let pages = tokens.div_ceil(PAGE_TOKENS).max(1);
        Self {
            pages,
            context_length: context_length.min(pages * PAGE_TOKENS),
            bytes: (pages * PAGE_TOKENS).saturating_mul(shape.bytes_per_token()),
        }
    }
}

/// The slots of recurrent state: one for each sequence, and others for checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatePlan {
    /// The number of sequences that may run at once.
    pub sequences: usize,
    /// The number of states that are kept for other sequences.
    pub checkpoints: usize,
    /// A prompt's state is kept after every so many pages, beside its end.
    pub interval: usize,
    /// The size of all slots, in bytes.
    pub bytes: usize,
}

impl StatePlan {
    /// The most checkpoints per sequence.
    const MOST_PER_SEQUENCE: usize = 4;
    /// The tokens of prompts that all checkpoints cover together, if they are spread evenly.
    const COVERED_TOKENS: usize = 16_384;
    /// The fewest tokens between two checkpoints of a prompt.
    const LEAST_INTERVAL: usize = 256;

    /// Plans slots for `max_batch` sequences within half of `memory` bytes, at least one, and checkpoints in a quarter
    /// of it, at least two.
    pub fn new(shape: StateShape, max_batch: usize, memory: usize) -> Self {
        let within = |bytes: usize| bytes / shape.bytes().max(1);
        let sequences = within(memory / 2).clamp(1, max_batch.max(1));
        let most = (Self::MOST_PER_SEQUENCE * max_batch).max(16);
        let checkpoints = within(memory / 4).clamp(2, most);
        let tokens = (Self::COVERED_TOKENS / checkpoints).max(Self::LEAST_INTERVAL);
        Self {
            sequences,
            checkpoints,
            interval: tokens.div_ceil(PAGE_TOKENS),
            bytes: (sequences + checkpoints).saturating_mul(shape.bytes()),
        }
    }

    /// The number of slots.
    pub fn slots(&self) -> usize {
        self.sequences + self.checkpoints
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::KvType;

    const SHAPE: KvShape = KvShape { layers: 2, kv_heads: 2, head_dim: 4, kv_type: KvType::F16 };

    #[test]
    fn kv_pool_size_is_bounded_by_batch_setting_and_memory() {
        let plan = KvPlan::new(SHAPE, 1000, 4, None, usize::MAX);
        assert_eq!((plan.pages, plan.context_length), (125, 1000));
        assert_eq!(plan.bytes, 4000 * SHAPE.bytes_per_token());
        let tight = KvPlan::new(SHAPE, 1000, 4, None, 100 * SHAPE.bytes_per_token());
        assert_eq!((tight.pages, tight.context_length), (4, 128));
        let set = KvPlan::new(SHAPE, 1000, 4, Some(64), usize::MAX);
        assert_eq!((set.pages, set.context_length), (2, 64));
    }

    #[test]
    fn state_slots_are_bounded_by_batch_and_memory() {
        let shape = StateShape { layers: 3, conv: 10, memory: 90 };
        assert_eq!(shape.bytes(), 1200);
        let roomy = StatePlan::new(shape, 16, usize::MAX);
        assert_eq!((roomy.sequences, roomy.checkpoints, roomy.interval), (16, 64, 8));
        assert_eq!(roomy.bytes, 80 * 1200);
        let tight = StatePlan::new(shape, 16, 40 * 1200);
        assert_eq!((tight.sequences, tight.checkpoints, tight.interval), (16, 10, 52));
        let least = StatePlan::new(shape, 16, 0);
        assert_eq!((least.sequences, least.checkpoints, least.slots()), (1, 2, 3));
    }
}
