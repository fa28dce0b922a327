//! What one step computes, as flat and ragged arrays.

use crate::kv::BlockTable;
use crate::layout::{AdapterId, PAGE_TOKENS, Spans};

/// What one step computes: some tokens of some sequences, one sequence after the other.
///
/// Sequence `s` brings `q_lens[s]` tokens; they attend to its `kv_lens[s]` tokens so far, their own
/// included. Chunks of prompts and single decoded tokens stand side by side.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForwardBatch {
    /// The tokens, sequence after sequence. `[total]`
    pub tokens: Vec<u32>,
    /// Each token's place in its sequence. `[total]`
    pub positions: Vec<u32>,
    /// Where each token's key and value go: page × page length + place in the page. `[total]`
    pub slot_mapping: Vec<usize>,
    /// How many tokens each sequence brings. `[sequences]`
    pub q_lens: Vec<usize>,
    /// How many tokens each sequence has after this step. `[sequences]`
    pub kv_lens: Vec<usize>,
    /// Which adapter each sequence asks for; none is the base alone. `[sequences]`
    pub adapters: Vec<Option<AdapterId>>,
    /// The pages of each sequence, in order, sequence after sequence.
    pages: Vec<u32>,
    /// Where each sequence's pages end. `[sequences]`
    page_ends: Vec<usize>,
    /// The rows of `tokens` whose logits are wanted, ascending.
    pub logit_rows: Vec<usize>,
    /// The rows of `tokens` of which it is enough to know the likeliest next token, ascending; none is among
    /// `logit_rows`.
    pub likeliest_rows: Vec<usize>,
}

/// Whose logits are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logits {
    /// Nobody's: a chunk in the middle of a prompt.
    None,
    /// The last token's: it is followed by a sampled one.
    Last,
    /// Of the last token's only which is the largest, so that they need not leave the device.
    Likeliest,
    /// Every token's: tests and scoring.
    All,
}

impl ForwardBatch {
    /// Adds the tokens of one sequence, of which `start` are in the pages already.
    pub fn push(&mut self, tokens: &[u32], start: usize, table: &BlockTable, logits: Logits) {
        self.push_adapted(tokens, start, table, logits, None);
    }

    /// The same, for a sequence that may ask for an adapter.
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
            Logits::Likeliest => self.likeliest_rows.push(end_row - 1),
            Logits::All => self.logit_rows.extend(first_row..end_row),
        }
    }

    /// Which pages the rows attend to.
    pub(crate) fn spans(&self) -> Spans<'_> {
        let Self { q_lens, kv_lens, pages, page_ends, .. } = self;
        Spans { q_lens, kv_lens, pages, page_ends }
    }

    /// The rows from which logits are made: `logit_rows`, then `likeliest_rows`.
    pub(crate) fn wanted_rows(&self) -> impl ExactSizeIterator<Item = usize> {
        let (whole, likeliest) = (self.logit_rows.len(), self.likeliest_rows.len());
        (0..whole + likeliest).map(move |place| match place.checked_sub(whole) {
            None => self.logit_rows[place],
            Some(place) => self.likeliest_rows[place],
        })
    }

    /// Empties it for the next step. The memory stays.
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
            likeliest_rows,
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
        likeliest_rows.clear();
    }

    /// Whether there is nothing to compute.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}
