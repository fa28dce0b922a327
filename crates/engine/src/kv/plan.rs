//! Computes how many pages a worker can afford.

use crate::layout::{KvShape, PAGE_TOKENS};

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
}
