//! Finds special tokens in a prompt.

use aho_corasick::{AhoCorasick, Input, MatchKind};

use super::vocabulary::{TokenKind, Vocabulary};

/// The special tokens, which are found by their text before BPE: control and user-defined ones.
#[derive(Debug, Clone)]
pub(super) struct SpecialTokens {
    /// Finds the leftmost, then longest, match, as Hugging Face does. `None` without special tokens.
    finder: Option<AhoCorasick>,
    /// Token ids by the index of the pattern in `finder`.
    ids: Vec<u32>,
}

/// A part of a prompt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PromptPiece<'a> {
    /// Text for BPE. Never empty.
    Text(&'a str),
    /// A special token.
    Special(u32),
}

impl SpecialTokens {
    pub(super) fn new(vocabulary: &Vocabulary) -> Result<Self, aho_corasick::BuildError> {
        let (ids, texts): (Vec<u32>, Vec<&str>) = vocabulary
            .iter()
            .filter(|(_, _, kind)| matches!(kind, TokenKind::Control | TokenKind::UserDefined))
            .map(|(id, text, _)| (id, text))
            .unzip();
        let finder = match texts.is_empty() {
            true => None,
            false => {
                Some(AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(texts)?)
            }
        };
        Ok(Self { finder, ids })
    }

    /// Splits a prompt into special tokens and the text between them, and calls `piece` with each in order. A
    /// special token stays text if one of the `marks` (ascending byte positions) is inside it.
    pub(super) fn split<'a>(
        &self,
        text: &'a str,
        marks: &[usize],
        mut piece: impl FnMut(PromptPiece<'a>),
    ) {
        let mut text_from = 0;
        let mut search_from = 0;
        while let Some(finder) = &self.finder
            && let Some(found) = finder.find(Input::new(text).range(search_from..))
        {
            let next_mark = marks.get(marks.partition_point(|&mark| mark <= found.start()));
            if next_mark.is_some_and(|&mark| mark < found.end()) {
                search_from = found.start() + 1;
                continue;
            }
            if text_from < found.start() {
                piece(PromptPiece::Text(&text[text_from..found.start()]));
            }
            piece(PromptPiece::Special(self.ids[found.pattern().as_usize()]));
            text_from = found.end();
            search_from = found.end();
        }
        if text_from < text.len() {
            piece(PromptPiece::Text(&text[text_from..]));
        }
    }
}
