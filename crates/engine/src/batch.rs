//! The input of one forward pass, as flat, ragged arrays.

use crate::injected::{Injected, InjectedSlice, NOTHING};
use crate::kernels::rows;
use crate::kv::BlockTable;
use crate::layout::{AdapterId, PAGE_TOKENS, Recurrence, Spans, StateSave, StateSpan};

/// The input of one forward pass: some tokens of some sequences, sequence after sequence.
///
/// Sequence `s` has `q_lens[s]` tokens in the batch. They attend to its first `kv_lens[s]` tokens,
/// which include themselves. Prefill chunks and decoded tokens may be mixed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ForwardBatch {
    /// The tokens, sequence after sequence. `[total]`
    pub tokens: Vec<u32>,
    /// The position of each token in time, height and width; the three are equal in a text. `[total]`
    pub positions: Vec<[u32; 3]>,
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
    /// The rows that replace embeddings of `tokens`, in ascending order.
    pub injected: Vec<InjectedSlice>,
    /// The slots of the recurrent state of each sequence, in hybrid models. `[sequences]`
    states: Vec<StateSpan>,
    /// The states that are saved on the way.
    state_saves: Vec<StateSave>,
}

/// Consecutive tokens of one sequence, as rows of a batch. The keys and values of the tokens before are in the
/// sequence's pages already.
#[derive(Debug, Clone, Copy)]
pub struct SequenceRows<'a> {
    /// The tokens.
    pub tokens: &'a [u32],
    /// The index of the first of them in the sequence.
    pub start: usize,
    /// The sequence's pages.
    pub pages: &'a BlockTable,
    /// The tokens whose logits are returned.
    pub logits: Logits,
    /// The sequence's adapter, or `None` for the base model alone.
    pub adapter: Option<AdapterId>,
    /// The sequence's injected rows, which determine the positions of its tokens too.
    pub injected: &'a Injected,
}

impl<'a> SequenceRows<'a> {
    /// Returns rows of a text, for the base model alone.
    pub fn text(tokens: &'a [u32], start: usize, pages: &'a BlockTable, logits: Logits) -> Self {
        Self { tokens, start, pages, logits, adapter: None, injected: &NOTHING }
    }
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
    /// Every token's logits, to verify drafted tokens, and for tests and scoring.
    All,
    /// The argmax of every token's logits, to verify drafted tokens.
    AllArgmax,
}

impl ForwardBatch {
    /// Adds rows of one sequence.
    pub fn push(&mut self, rows: SequenceRows<'_>) {
        let SequenceRows { tokens, start, pages, logits, adapter, injected } = rows;
        let end = start + tokens.len();
        debug_assert!(end <= pages.capacity(), "tokens beyond their pages");
        let first_row = self.tokens.len();
        let end_row = first_row + tokens.len();
        self.tokens.extend_from_slice(tokens);
        for index in start..end {
            self.positions.push(injected.position(index));
            let page = pages.pages()[index / PAGE_TOKENS] as usize;
            self.slot_mapping.push(page * PAGE_TOKENS + index % PAGE_TOKENS);
        }
        for slice in injected.slices(start..end) {
            let rows = first_row + slice.rows.start..first_row + slice.rows.end;
            self.injected.push(InjectedSlice { rows, ..slice });
        }
        if let Some(slots) = pages.state_slots(start) {
            let first_save = self.state_saves.len();
            let own = slots.saves.iter().filter(|(at, _)| (start + 1..=end).contains(at));
            self.state_saves
                .extend(own.map(|(at, slot)| StateSave { after: at - start, slot: *slot }));
            self.states.push(StateSpan {
                rows: first_row..end_row,
                from: slots.from,
                to: slots.to,
                saves: first_save..self.state_saves.len(),
            });
        }
        self.q_lens.push(tokens.len());
        self.kv_lens.push(end);
        self.adapters.push(adapter);
        self.pages.extend_from_slice(pages.pages());
        self.page_ends.push(self.pages.len());
        match logits {
            Logits::None => {}
            Logits::Last => self.logit_rows.push(end_row - 1),
            Logits::Argmax => self.argmax_rows.push(end_row - 1),
            Logits::All => self.logit_rows.extend(first_row..end_row),
            Logits::AllArgmax => self.argmax_rows.extend(first_row..end_row),
        }
    }

    /// Replaces the rows of `x`, the embeddings `[tokens, hidden]`, that injected rows take the place of.
    pub(crate) fn inject(&self, x: &mut [f32], hidden: usize) {
        for slice in &self.injected {
            let rows = slice.rows.start * hidden..slice.rows.end * hidden;
            x[rows].copy_from_slice(slice.values(hidden));
        }
    }

    /// Adds to the rows of `x`, the output of a layer's feed-forward block `[tokens, hidden]`, what injected rows have
    /// added after this layer.
    pub(crate) fn add_after(&self, layer: usize, x: &mut [f32], hidden: usize) {
        for slice in &self.injected {
            let Some(added) = slice.added(layer, hidden) else { continue };
            rows::add(&mut x[slice.rows.start * hidden..slice.rows.end * hidden], added);
        }
    }

    /// Returns the pages that the rows attend to.
    pub(crate) fn spans(&self) -> Spans<'_> {
        let Self { q_lens, kv_lens, pages, page_ends, .. } = self;
        Spans { q_lens, kv_lens, pages, page_ends }
    }

    /// Returns the recurrent states that the rows read and write.
    pub(crate) fn recurrence(&self) -> Recurrence<'_> {
        Recurrence { spans: &self.states, saves: &self.state_saves }
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
            injected,
            states,
            state_saves,
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
        injected.clear();
        states.clear();
        state_saves.clear();
    }

    /// Whether the batch has no tokens.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}
