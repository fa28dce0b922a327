//! Splits text into words before BPE, as the Qwen families do.
//!
//! Their patterns are written for a backtracking engine. Hugging Face runs them on Oniguruma, which fails
//! (and panics in its binding) after ten million steps, so a long run of spaces in a prompt could stop the
//! engine. Without their only look-ahead, `\s+(?!\S)`, the `regex` crate runs them in linear time.
//! [`Words`] does the work of the look-ahead in code.

use std::sync::LazyLock;

use regex::Regex;

/// The model families with the same split into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Qwen2, Qwen2.5, Qwen3.
    Qwen2,
    /// Qwen3.5: combining marks belong to the word.
    Qwen35,
}

static QWEN2: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
    ))
});

static QWEN35: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}",
        r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
    ))
});

fn pattern(source: &str) -> Regex {
    Regex::new(source).expect("the pattern is constant and tested")
}

impl Family {
    /// The names of all families in `tokenizer.ggml.pre`.
    pub const NAMES: [&str; 2] = ["qwen2", "qwen35"];

    /// Its name in `tokenizer.ggml.pre`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Qwen2 => "qwen2",
            Self::Qwen35 => "qwen35",
        }
    }

    /// Returns the family with this published pattern, which includes the look-ahead, or `None` if there is
    /// none.
    pub fn from_pattern(pattern: &str) -> Option<Self> {
        let published = |family: Self| {
            let marks = if family == Self::Qwen35 { r"\p{M}" } else { "" };
            let letters = if family == Self::Qwen35 { r"[\p{L}\p{M}]" } else { r"\p{L}" };
            format!(
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?{letters}+|\p{{N}}| ?[^\s\p{{L}}{marks}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            )
        };
        [Self::Qwen2, Self::Qwen35].into_iter().find(|family| pattern == published(*family))
    }

    /// Returns the family with this name in `tokenizer.ggml.pre`, or `None` if there is none.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "qwen2" => Some(Self::Qwen2),
            "qwen35" => Some(Self::Qwen35),
            _ => None,
        }
    }

    /// Returns the words of a text, in order and without gaps.
    pub fn words(self, text: &str) -> Words<'_> {
        let pattern = match self {
            Self::Qwen2 => &*QWEN2,
            Self::Qwen35 => &*QWEN35,
        };
        Words { pattern, text, at: 0 }
    }
}

/// The iterator of [`Family::words`].
#[derive(Debug)]
pub struct Words<'a> {
    pattern: &'static Regex,
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.at == self.text.len() {
            return None;
        }
        // The pattern matches at every position. If it did not, the rest would be one word.
        let end =
            self.pattern.find_at(self.text, self.at).map_or(self.text.len(), |found| found.end());
        let mut word = &self.text[self.at..end];
        // `\s+(?!\S)`: the last character of a run of whitespace before a word belongs to the word.
        if end < self.text.len() {
            let mut chars = word.chars();
            if let Some(last) = chars.next_back()
                && last.is_whitespace()
                && !matches!(last, '\r' | '\n')
                && !chars.as_str().is_empty()
            {
                word = chars.as_str();
            }
        }
        self.at += word.len();
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        Family::Qwen2.words(text).collect()
    }

    #[test]
    fn splits_like_the_published_pattern() {
        assert_eq!(
            words("I'll pay 42€, she'S"),
            ["I", "'ll", " pay", " ", "4", "2", "€,", " she", "'S"]
        );
        assert_eq!(words("  two"), [" ", " two"]);
        assert_eq!(words("a   "), ["a", "   "]);
        assert_eq!(words("a \n\n  b"), ["a", " \n\n", " ", " b"]);
        assert_eq!(words("\t\tx!\n\ny"), ["\t", "\tx", "!\n\n", "y"]);
        assert_eq!(words(" 1"), [" ", "1"]);
        assert_eq!(words(""), Vec::<&str>::new());
    }

    #[test]
    fn marks_belong_to_the_word_in_qwen35_only() {
        let text = "का"; // a letter and a combining vowel sign
        assert_eq!(Family::Qwen2.words(text).count(), 2);
        assert_eq!(Family::Qwen35.words(text).count(), 1);
    }

    #[test]
    fn a_long_run_takes_linear_time() {
        for text in [" ".repeat(12_000_000), "a".repeat(4_000_000), "!\t".repeat(500_000)] {
            assert_eq!(words(&text).concat(), text);
        }
    }
}
