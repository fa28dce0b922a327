//! The input of one forward pass, as flat, ragged arrays.

use crate::kv::BlockTable;
use crate::layout::{AdapterId, PAGE_TOKENS, Spans};

/// The input of one forward pass: some tokens of some sequences, sequence after sequence.
///
/// Sequence `s` has `q_lens[s]` tokens in the batch. They attend to its first `kv_lens[s]` tokens,
/// which include themselves. Prefill chunks and decoded tokens may be mixed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForwardBatch {
    /// The tokens, sequence after sequence. `[total]`
    pub tokens: Vec<u32>,
    /// The position of each token in its sequence. `[total]`
    pub positions: Vec<u32>,
    /// The slot for each token's key and value: page * [`PAGE_TOKENS`] + offset in the page. `[total]`
    pub slot_mapping: Vec<usize>,
    /// The number of tokens of each sequence in this batch. `[sequences]`
    pub q_lens: Vec<usize>,
    /// The number of tokens of each sequence after this step. `[sequences]`
    pub kv_lens: Vec<usize>,
    /// The adapter of each sequence, or `None` for the base model alone. `[sequences]`
    pub adapters: Vec<Option<AdapterId>>,
    /// The pages of each sequence in the order of its tokens, sequence after sequence.
    pages: Vec<u32>,
    /// Where each sequence's pages end in `pages`. `[sequences]`
    page_ends: Vec<usize>,
    /// The rows of `tokens` whose logits are returned, in ascending order.
    pub logit_rows: Vec<usize>,
    /// The rows of `tokens` for which only the argmax of the logits is needed, in ascending order. Disjoint
    /// from `logit_rows`.
    pub argmax_rows: Vec<usize>,
}

/// Selects the tokens whose logits are returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logits {
    /// No logits: a chunk in the middle of a prompt.
    None,
    /// The last token's logits, to sample the next token from.
    Last,
    /// The argmax of the last token's logits, so that the logits need not leave the device.
    Argmax,
    /// Every token's logits, for tests and scoring.
    All,
}

impl ForwardBatch {
    /// Adds tokens of one sequence, at positions from `start` on. The keys and values of the tokens before
    /// are in the pages of `table` already.
    pub fn push(&mut self, tokens: &[u32], start: usize, table: &BlockTable, logits: Logits) {
        self.push_adapted(tokens, start, table, logits, None);
    }

    /// Does the same as [`push`](Self::push) for a sequence that uses `adapter`, if it is `Some`.
    pub fn push_adapted(
        &mut self,
        tokens: &[u32],
        start: usize,
        table: &BlockTable,
        logits: Logits,
        adapter: Option<AdapterId>,
    ) {
        debug_assert!(start + tokens.len() <= table.capacity(), "tokens beyond their pages");
        let first_row = self.tokens.len();
        let end_row = first_row + tokens.len();
        self.tokens.extend_from_slice(tokens);
        for position in start..start + tokens.len() {
            self.positions.push(position as u32);
            let page = table.pages()[position / PAGE_TOKENS] as usize;
            self.slot_mapping.push(page * PAGE_TOKENS + position % PAGE_TOKENS);
        }
        self.q_lens.push(tokens.len());
        self.kv_lens.push(start + tokens.len());
        self.adapters.push(adapter);
        self.pages.extend_from_slice(table.pages());
        self.page_ends.push(self.pages.len());
        match logits {
            Logits::None => {}
            Logits::Last => self.logit_rows.push(end_row - 1),
            Logits::Argmax => self.argmax_rows.push(end_row - 1),
            Logits::All => self.logit_rows.extend(first_row..end_row),
        }
    }

    /// Returns the pages that the rows attend to.
    pub(crate) fn spans(&self) -> Spans<'_> {
        let Self { q_lens, kv_lens, pages, page_ends, .. } = self;
        Spans { q_lens, kv_lens, pages, page_ends }
    }

    /// Returns the rows for which logits are computed: `logit_rows`, then `argmax_rows`.
    pub(crate) fn wanted_rows(&self) -> impl ExactSizeIterator<Item = usize> {
        let (whole, likeliest) = (self.logit_rows.len(), self.argmax_rows.len());
        (0..whole + likeliest).map(move |place| match place.checked_sub(whole) {
            None => self.logit_rows[place],
            Some(place) => self.argmax_rows[place],
        })
    }

    /// Removes all sequences, and keeps the allocated memory for the next step.
    pub fn clear(&mut self) {
        let Self {
            tokens,
            positions,
            slot_mapping,
            q_lens,
            kv_lens,
            adapters,
            pages,
            page_ends,
            logit_rows,
            argmax_rows,
        } = self;
        tokens.clear();
        positions.clear();
        slot_mapping.clear();
        q_lens.clear();
        kv_lens.clear();
        adapters.clear();
        pages.clear();
        page_ends.clear();
        logit_rows.clear();
        argmax_rows.clear();
    }

    /// Whether the batch has no tokens.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}
