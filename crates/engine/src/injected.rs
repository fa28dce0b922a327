//! Rows that replace the embeddings of a prompt's tokens, such as those of an image, and the positions of all tokens
//! of a prompt with such rows.
//!
//! An encoder produces [`InjectedRows`], one per image; a request carries them with its tokens. [`Injected`] has
//! checked them and knows the position of each token. A step takes the rows of its chunk as [`InjectedSlice`]s.

use std::ops::Range;
use std::sync::Arc;

use crate::kv::InjectedContent;

/// The first position that is not allowed: f32 represents those before it exactly.
const POSITION_LIMIT: u64 = 1 << 24;

/// Rows that replace the embeddings of consecutive tokens of a prompt, which are placeholders, such as the rows of
/// one image.
#[derive(Debug, Clone, PartialEq)]
pub struct InjectedRows {
    /// The index of the first token whose embedding is replaced.
    pub start: usize,
    /// The positions of each row in time, height and width, counted from that of the first row. `[rows]`
    ///
    /// The token after the rows has the position after the largest of these. A model without M-RoPE uses the first of
    /// the three only.
    pub positions: Vec<[u32; 3]>,
    /// The rows. `[rows, hidden]`
    pub values: Arc<[f32]>,
    /// What is added to the hidden states of these tokens after each of the first layers (DeepStack,
    /// <https://arxiv.org/abs/2406.04334>). Empty if the model does not have it. `[layers, rows, hidden]`
    pub added: Arc<[f32]>,
    /// A SHA-256 hash of everything that rows and positions are computed from: see [`InjectedContent::hash`].
    pub hash: [u8; 32],
}

impl InjectedRows {
    /// Returns the positions of `rows` rows that follow one another like the tokens of a text.
    pub fn consecutive_positions(rows: usize) -> Vec<[u32; 3]> {
        (0..rows as u32).map(|row| [row; 3]).collect()
    }

    /// Returns the indices of the tokens whose embeddings they replace.
    fn tokens(&self) -> Range<usize> {
        self.start..self.start + self.positions.len()
    }
}

/// The reason why injected rows do not fit their prompt or model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InjectError {
    /// There are no rows.
    #[error("the rows injected at token {start} are empty; inject at least one")]
    Empty {
        /// The index of the first token.
        start: usize,
    },
    /// The rows do not have the width of the model.
    #[error(
        "the {rows} rows injected at token {start} have {found} numbers; the model's rows have {hidden} each"
    )]
    WrongWidth {
        /// The index of the first token.
        start: usize,
        /// The number of rows, which is that of their positions.
        rows: usize,
        /// The number of values.
        found: usize,
        /// The width of the model's rows.
        hidden: usize,
    },
    /// There are not as many values to add after layers as the model has layers with DeepStack.
    #[error(
        "the rows injected at token {start} have {found} numbers to add after layers; the model needs {expected}: \
         {rows} rows for each of its {layers} layers with DeepStack"
    )]
    WrongAddedLength {
        /// The index of the first token.
        start: usize,
        /// The number of rows.
        rows: usize,
        /// The layers after which rows are added.
        layers: usize,
        /// The number of values.
        found: usize,
        /// The number of values that there should be.
        expected: usize,
    },
    /// A value is infinite or NaN.
    #[error("the rows injected at token {start} have a number that is not finite")]
    NotFinite {
        /// The index of the first token.
        start: usize,
    },
    /// The rows begin before the end of those before them.
    #[error("the rows injected at token {start} overlap those before, which end at token {end}")]
    Overlap {
        /// The index of the first token.
        start: usize,
        /// The end of the rows before.
        end: usize,
    },
    /// The rows replace tokens beyond the prompt.
    #[error(
        "the rows injected at token {start} end at token {end}; the prompt has {tokens} tokens"
    )]
    BeyondPrompt {
        /// The index of the first token.
        start: usize,
        /// The end of the rows.
        end: usize,
        /// The number of the prompt's tokens.
        tokens: usize,
    },
    /// A position is too far to be represented exactly.
    #[error(
        "the rows injected at token {start} reach position {position}; positions end at {POSITION_LIMIT}"
    )]
    FarPosition {
        /// The index of the first token.
        start: usize,
        /// The largest position.
        position: u64,
    },
}

/// The injected rows of a sequence, in the order of its tokens, and the positions that follow from them.
#[derive(Debug, Clone, Default)]
pub struct Injected(Vec<Span>);

#[derive(Debug, Clone)]
struct Span {
    rows: InjectedRows,
    /// The position of the first row.
    first: u32,
    /// The position of the token after the last row.
    next: u32,
}

/// The rows that a chunk of a sequence's tokens gets injected from one [`InjectedRows`].
#[derive(Debug, Clone, PartialEq)]
pub struct InjectedSlice {
    /// The indices of the chunk's rows that are replaced.
    pub rows: Range<usize>,
    /// The index in `values` of the row that replaces the first of them.
    pub from: usize,
    /// `[rows of the image, hidden]`
    pub values: Arc<[f32]>,
    /// What is added after layers. `[layers, rows of the image, hidden]`
    pub added: Arc<[f32]>,
}

impl InjectedSlice {
    /// Returns the values of its rows, `[rows, hidden]`.
    pub(crate) fn values(&self, hidden: usize) -> &[f32] {
        &self.values[self.from * hidden..(self.from + self.rows.len()) * hidden]
    }

    /// Returns what is added to its rows after a layer, `[rows, hidden]`; `None` if nothing is.
    pub(crate) fn added(&self, layer: usize, hidden: usize) -> Option<&[f32]> {
        let of_layer = self.added.chunks_exact(self.values.len()).nth(layer)?;
        Some(&of_layer[self.from * hidden..(self.from + self.rows.len()) * hidden])
    }
}

/// The injected rows of a sequence that has none.
pub(crate) static NOTHING: Injected = Injected(Vec::new());

impl Injected {
    /// Checks the rows for a prompt of `tokens` tokens and a model with rows of `hidden` numbers, which are added to
    /// again after the first `deepstack_layers` layers.
    ///
    /// # Errors
    /// If rows are empty, not finite or of another width, are not as many as the layers need, overlap, are not in the
    /// order of their tokens, or go beyond the prompt; or if a position is too far.
    pub fn new(
        rows: Vec<InjectedRows>,
        tokens: usize,
        hidden: usize,
        deepstack_layers: usize,
    ) -> Result<Self, InjectError> {
        let mut injected = Self(Vec::with_capacity(rows.len()));
        for rows in rows {
            let (start, count) = (rows.start, rows.positions.len());
            let end = start.saturating_add(count);
            let found = rows.values.len();
            let before = injected.0.last().map_or(0, |before| before.rows.tokens().end);
            let Some(largest) = rows.positions.iter().flatten().max() else {
                return Err(InjectError::Empty { start });
            };
            if count.checked_mul(hidden) != Some(found) {
                return Err(InjectError::WrongWidth { start, rows: count, found, hidden });
            }
            let (layers, added) = (deepstack_layers, rows.added.len());
            if layers.checked_mul(found) != Some(added) {
                let (rows, expected) = (count, layers.saturating_mul(found));
                let found = added;
                return Err(InjectError::WrongAddedLength { start, rows, layers, found, expected });
            }
            if start < before {
                return Err(InjectError::Overlap { start, end: before });
            }
            if end > tokens {
                return Err(InjectError::BeyondPrompt { start, end, tokens });
            }
            if !rows.values.iter().chain(&*rows.added).all(|value| value.is_finite()) {
                return Err(InjectError::NotFinite { start });
            }
            let [first, ..] = injected.position(start);
            let position = u64::from(first) + u64::from(*largest);
            if position >= POSITION_LIMIT {
                return Err(InjectError::FarPosition { start, position });
            }
            injected.0.push(Span { rows, first, next: position as u32 + 1 });
        }
        Ok(injected)
    }

    /// Returns whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the position of a token in time, height and width. Text has three equal positions.
    ///
    /// Text continues after the largest position of the rows before it, as in Qwen2-VL
    /// (<https://arxiv.org/abs/2409.12191>, section 2.1).
    pub fn position(&self, token: usize) -> [u32; 3] {
        let after = self.0.partition_point(|span| span.rows.start <= token);
        let Some(span) = after.checked_sub(1).and_then(|place| self.0.get(place)) else {
            return [token as u32; 3];
        };
        match span.rows.positions.get(token - span.rows.start) {
            Some(offsets) => offsets.map(|offset| span.first + offset),
            None => [span.next + (token - span.rows.tokens().end) as u32; 3],
        }
    }

    /// Returns the rows that replace those of a chunk of tokens.
    pub(crate) fn slices(&self, chunk: Range<usize>) -> impl Iterator<Item = InjectedSlice> {
        self.within(chunk.clone()).map(move |(span, tokens)| InjectedSlice {
            rows: tokens.start - chunk.start..tokens.end - chunk.start,
            from: tokens.start - span.start,
            values: span.values.clone(),
            added: span.added.clone(),
        })
    }

    /// Returns the content that is injected into a page of tokens, for the page's key.
    pub(crate) fn contents(&self, page: Range<usize>) -> impl Iterator<Item = InjectedContent> {
        self.within(page.clone()).flat_map(move |(span, tokens)| {
            let (hash, start, page) = (span.hash, span.start, page.start);
            tokens.map(move |token| InjectedContent {
                row: (token - page) as u32,
                hash,
                offset: (token - start) as u32,
            })
        })
    }

    /// Returns the rows that replace some of these tokens, and which.
    fn within(&self, tokens: Range<usize>) -> impl Iterator<Item = (&InjectedRows, Range<usize>)> {
        self.0.iter().filter_map(move |Span { rows, .. }| {
            let span = rows.tokens();
            let shared = span.start.max(tokens.start)..span.end.min(tokens.end);
            (!shared.is_empty()).then_some((rows, shared))
        })
    }
}

#[cfg(test)]
mod tests;
