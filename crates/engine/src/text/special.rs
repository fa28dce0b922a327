//! Finds the texts of special tokens in a prompt.

use aho_corasick::{AhoCorasick, Input, MatchKind};

use super::vocabulary::{TokenKind, Vocabulary};

/// The tokens that are found as whole texts before BPE: control and user-defined ones.
#[derive(Debug, Clone)]
pub(super) struct SpecialTokens {
    /// Leftmost, then longest, as in Hugging Face. `None` if there is no special token.
    finder: Option<AhoCorasick>,
    /// Token ids by pattern.
    ids: Vec<u32>,
}

/// A stretch of a prompt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Goes through BPE; never empty.
    Text(&'a str),
    /// Is this token.
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

    /// Cuts a prompt into special tokens and the text between them. A special token with one of
    /// the `marks` (ascending byte positions) inside its text stays text.
    pub(super) fn split<'a>(
        &self,
        text: &'a str,
        marks: &[usize],
        mut piece: impl FnMut(Piece<'a>),
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
                piece(Piece::Text(&text[text_from..found.start()]));
            }
            piece(Piece::Special(self.ids[found.pattern().as_usize()]));
            text_from = found.end();
            search_from = found.end();
        }
        if text_from < text.len() {
            piece(Piece::Text(&text[text_from..]));
        }
    }
}
