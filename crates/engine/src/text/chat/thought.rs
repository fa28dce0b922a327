//! Counts the tokens of an answer's reasoning while it is generated.

use super::answer::{THINK, THINK_END};
use super::start::AnswerStart;

/// Counts the tokens that begin inside the reasoning, between `<think>` and `</think>`, wherever
/// [`AnswerParser`](super::answer::AnswerParser) finds it. Works on bytes, since a token may be a part of a character.
#[derive(Debug)]
pub(crate) struct ReasoningTokens {
    place: Place,
    /// The length of the next tag's prefix that the text ends with.
    matched: usize,
    /// The number of bytes so far.
    length: usize,
    /// The tokens that are certain to count.
    count: usize,
    /// The offsets of tokens that do not count if the text after `count` becomes the closing tag.
    undecided: Vec<usize>,
}

/// A place in the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Before,
    Inside,
    After,
}

impl ReasoningTokens {
    /// Creates the count of an answer without tokens.
    pub(crate) fn new(start: AnswerStart) -> Self {
        let place = match start {
            AnswerStart::InsideReasoning => Place::Inside,
            AnswerStart::AtFirstToken | AnswerStart::BeforeReasoning => Place::Before,
        };
        Self { place, matched: 0, length: 0, count: 0, undecided: Vec::new() }
    }

    /// Adds a token, with the bytes that it adds to the text. Returns the number of tokens inside the reasoning so far.
    pub(crate) fn push(&mut self, token: &[u8]) -> usize {
        if self.place == Place::Inside {
            self.undecided.push(self.length);
        }
        for byte in token {
            self.length += 1;
            self.step(*byte);
        }
        if self.place == Place::Inside {
            self.decide(self.length - self.matched);
        }
        self.count + self.undecided.len()
    }

    fn step(&mut self, byte: u8) {
        let tag = match self.place {
            Place::Before if self.matched == 0 && byte.is_ascii_whitespace() => return,
            Place::Before => THINK,
            Place::Inside => THINK_END,
            Place::After => return,
        };
        if tag.as_bytes()[self.matched] == byte {
            self.matched += 1;
        } else if self.place == Place::Before {
            self.place = Place::After;
        } else {
            // Tags contain `<` only at their start.
            self.matched = usize::from(byte == b'<');
        }
        if self.matched == tag.len() {
            self.matched = 0;
            if self.place == Place::Inside {
                self.decide(self.length - tag.len());
                self.undecided.clear();
                self.place = Place::After;
            } else {
                self.place = Place::Inside;
            }
        }
    }

    /// Counts the undecided tokens that begin before `end`.
    fn decide(&mut self, end: usize) {
        let before = self.undecided.len();
        self.undecided.retain(|begin| *begin >= end);
        self.count += before - self.undecided.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(start: AnswerStart, tokens: &[&[u8]]) -> usize {
        let mut counter = ReasoningTokens::new(start);
        tokens.iter().map(|token| counter.push(token)).last().unwrap_or(0)
    }

    #[test]
    fn tokens_that_begin_between_the_tags_count() {
        use AnswerStart::{AtFirstToken, BeforeReasoning, InsideReasoning};
        for (start, tokens, expected) in [
            // tags that are one token
            (AtFirstToken, &["<think>", "\n", "Hm", ".", "\n", "</think>", "\n\n", "Yes"][..], 4),
            (BeforeReasoning, &["<think>", "Hm", "</think>", "{", "}"], 1),
            (InsideReasoning, &["Hm", ".", "</think>", "Yes", "."], 2),
            // tags that are cut, or have text beside them
            (AtFirstToken, &["\n", "<th", "ink>", "Hm", "</", "think", ">", "Yes"], 1),
            (AtFirstToken, &["<think>\n", "Hm", ".</th", "ink>Y", "es"], 2),
            (InsideReasoning, &["Hm", "</think>Yes", "</think>"], 1),
            // what looks like a tag
            (InsideReasoning, &["a", "<", "/", "th", "e", "<", "</", "think>", "b"], 6),
            // no reasoning
            (AtFirstToken, &["Yes", "<think>", "Hm", "</think>"], 0),
            (AtFirstToken, &["<", "b>", "<think>", "Hm"], 0),
            (AtFirstToken, &["<think>", "</think>", "Yes"], 0),
            (AtFirstToken, &[], 0),
            // reasoning that is cut off
            (AtFirstToken, &["<think>", "Hm", "</thi"], 2),
        ] {
            let bytes: Vec<&[u8]> = tokens.iter().map(|token| token.as_bytes()).collect();
            assert_eq!(count(start, &bytes), expected, "{tokens:?}");
        }
        // Characters of several tokens, one of which the tag cuts off.
        let [first, second, third] = [&b"\xF0\x9F"[..], b"\xA6", b"\x99"];
        let tokens = [first, second, third, first, b"</think>", first];
        assert_eq!(count(InsideReasoning, &tokens), 4);
    }
}
