//! Counts the tokens of an answer's reasoning while it is generated.

use super::answer::{THINK, THINK_END};
use super::start::AnswerStart;

/// Counts the tokens whose text begins inside the reasoning, between `<think>` and `</think>`, wherever
/// [`AnswerParser`](super::answer::AnswerParser) finds it.
#[derive(Debug)]
pub(crate) struct ReasoningTokens {
    place: Place,
    /// The length of the next tag's prefix that the text ends with.
    matched: usize,
    /// The number of bytes of text so far.
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

    /// Adds a token with the text that it completes. Returns the number of tokens inside the reasoning so far.
    pub(crate) fn push(&mut self, text: &str) -> usize {
        if self.place == Place::Inside {
            self.undecided.push(self.length);
        }
        for char in text.chars() {
            self.length += char.len_utf8();
            self.step(char);
        }
        if self.place == Place::Inside {
            self.decide(self.length - self.matched);
        }
        self.count + self.undecided.len()
    }

    fn step(&mut self, char: char) {
        let tag = match self.place {
            Place::Before if self.matched == 0 && char.is_whitespace() => return,
            Place::Before => THINK,
            Place::Inside => THINK_END,
            Place::After => return,
        };
        if tag[self.matched..].starts_with(char) {
            self.matched += 1;
        } else if self.place == Place::Before {
            self.place = Place::After;
        } else {
            // Tags contain `<` only at their start.
            self.matched = usize::from(char == '<');
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

    fn count(start: AnswerStart, tokens: &[&str]) -> usize {
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
            // a character of several tokens
            (InsideReasoning, &["", "", "🦙", "</think>", "", "é"], 3),
            // no reasoning
            (AtFirstToken, &["Yes", "<think>", "Hm", "</think>"], 0),
            (AtFirstToken, &["<", "b>", "<think>", "Hm"], 0),
            (AtFirstToken, &["<think>", "</think>", "Yes"], 0),
            (AtFirstToken, &[], 0),
            // reasoning that is cut off
            (AtFirstToken, &["<think>", "Hm", "</thi"], 2),
        ] {
            assert_eq!(count(start, tokens), expected, "{tokens:?}");
        }
    }
}
