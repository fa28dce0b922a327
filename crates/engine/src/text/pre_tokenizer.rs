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
    /// llama.cpp's way with a GGUF file that does not name its own.
    Default,
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

/// What llama.cpp applies one after the other (LLAMA_VOCAB_PRE_TYPE_DEFAULT): runs of punctuation become
/// words, what lies between them is split as GPT-2 does, and at last digits are taken by threes.
static DEFAULT: LazyLock<[Regex; 3]> = LazyLock::new(|| {
    [
        pattern(r"[\p{P}$+<=>^~|]+"),
        pattern(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+"),
        pattern(r"\p{N}+"),
    ]
});

/// Digits that make a word.
const DIGITS: usize = 3;

fn pattern(source: &str) -> Regex {
    Regex::new(source).expect("the pattern is constant and tested")
}

impl Family {
    /// The names in `tokenizer.ggml.pre` of the families with a published pattern.
    pub const NAMES: [&str; 2] = ["qwen2", "qwen35"];

    /// Its name in `tokenizer.ggml.pre`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Qwen2 => "qwen2",
            Self::Qwen35 => "qwen35",
            Self::Default => "default",
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
            // Other models with Qwen2's words, by the names that llama.cpp gives them.
            "qwen2" | "deepseek-r1-qwen" | "kormo" | "f2llmv2" | "megrez" => Some(Self::Qwen2),
            "qwen35" => Some(Self::Qwen35),
            "default" => Some(Self::Default),
            _ => None,
        }
    }

    /// Returns the words of a text, in order and without gaps.
    pub fn words(self, text: &str) -> Words<'_> {
        match self {
            Self::Qwen2 => Words(Kind::Found(Found::for_qwen(&QWEN2, text))),
            Self::Qwen35 => Words(Kind::Found(Found::for_qwen(&QWEN35, text))),
            Self::Default => Words(Kind::Listed(default_words(text).into_iter())),
        }
    }
}

/// The iterator of [`Family::words`].
#[derive(Debug)]
pub struct Words<'a>(Kind<'a>);

#[derive(Debug)]
enum Kind<'a> {
    /// Found as they are wanted.
    Found(Found<'a>),
    /// Found all at once.
    Listed(std::vec::IntoIter<&'a str>),
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        match &mut self.0 {
            Kind::Found(words) => words.next(),
            Kind::Listed(words) => words.next(),
        }
    }
}

/// Words by one pattern that matches at every position.
#[derive(Debug)]
struct Found<'a> {
    pattern: &'static Regex,
    text: &'a str,
    at: usize,
    /// Whether a line's end may be the space that belongs to the word behind it.
    parts_lines: bool,
}

impl<'a> Found<'a> {
    /// Qwen's patterns take the ends of lines with the spaces before them.
    fn for_qwen(pattern: &'static Regex, text: &'a str) -> Self {
        Self { pattern, text, at: 0, parts_lines: false }
    }
}

impl<'a> Iterator for Found<'a> {
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
                && (self.parts_lines || !matches!(last, '\r' | '\n'))
                && !chars.as_str().is_empty()
            {
                word = chars.as_str();
            }
        }
        self.at += word.len();
        Some(word)
    }
}

/// The words of [`Family::Default`].
fn default_words(text: &str) -> Vec<&str> {
    let [punctuation, gpt2, numbers] = &*DEFAULT;
    let mut words = Vec::new();
    for piece in matches_and_gaps(punctuation, text) {
        let of_gpt2 = Found { pattern: gpt2, text: piece, at: 0, parts_lines: true };
        for word in of_gpt2 {
            for piece in matches_and_gaps(numbers, word) {
                push_threes(piece, &mut words);
            }
        }
    }
    words
}

/// What a pattern matches in a text, and what lies between, in order.
fn matches_and_gaps<'a>(pattern: &'static Regex, text: &'a str) -> impl Iterator<Item = &'a str> {
    let mut matches = pattern.find_iter(text).map(|found| found.range()).peekable();
    let mut at = 0;
    std::iter::from_fn(move || {
        let end = match matches.peek() {
            _ if at == text.len() => return None,
            Some(found) if found.start > at => found.start,
            Some(found) => found.end,
            None => text.len(),
        };
        if matches.peek().is_some_and(|found| found.end == end) {
            matches.next();
        }
        let piece = &text[at..end];
        at = end;
        Some(piece)
    })
}

/// Adds a piece to the words: ASCII digits by threes, and what is left or is none of them as it stands.
fn push_threes<'a>(piece: &'a str, words: &mut Vec<&'a str>) {
    let bytes = piece.as_bytes();
    let (mut gap, mut at) = (0, 0);
    while let Some(three) = bytes.get(at..at + DIGITS) {
        if !three.iter().all(u8::is_ascii_digit) {
            at += 1;
            continue;
        }
        if gap < at {
            words.push(&piece[gap..at]);
        }
        words.push(&piece[at..at + DIGITS]);
        at += DIGITS;
        gap = at;
    }
    if gap < piece.len() {
        words.push(&piece[gap..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        Family::Qwen2.words(text).collect()
    }

    #[test]
    fn words_are_split_like_the_published_pattern() {
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
    fn combining_marks_belong_to_words_in_qwen35_only() {
        let text = "का"; // a letter and a combining vowel sign
        assert_eq!(Family::Qwen2.words(text).count(), 2);
        assert_eq!(Family::Qwen35.words(text).count(), 1);
    }

    /// As `tokenizer.ggml.pre` "default" is read by llama.cpp's `unicode_regex_split`.
    #[test]
    fn words_are_split_like_the_llama_cpp_default() {
        let words = |text| Family::Default.words(text).collect::<Vec<_>>();
        assert_eq!(
            words("I'll pay (42€), she'S"),
            ["I", "'", "ll", " pay", " ", "(", "42", "€", "),", " she", "'", "S"]
        );
        assert_eq!(words("in 2024, 12345"), ["in", " ", "202", "4", ",", " ", "123", "45"]);
        assert_eq!(words("a \n\n  b"), ["a", " \n\n ", " b"]);
        assert_eq!(words("x\n\ny"), ["x", "\n", "\n", "y"]);
        assert_eq!(words("a_b <c> ``"), ["a", "_", "b", " ", "<", "c", ">", " ``"]);
        assert_eq!(words("  "), ["  "]);
        assert_eq!(words("它们١٢٣٤"), ["它们", "١٢٣٤"]);
        assert_eq!(words(""), Vec::<&str>::new());
    }

    #[test]
    fn pre_tokenizers_of_all_families_keep_the_whole_text() {
        let text = "Ünï 12 34567\t\r\n\n  ¿qué?… <|x|> 它's\u{301} ١٢٣٤٥ a+b==c $5`~^|  ";
        for family in [Family::Qwen2, Family::Qwen35, Family::Default] {
            assert_eq!(family.words(text).collect::<String>(), text, "{family:?}");
            assert_eq!(Family::from_name(family.name()), Some(family));
        }
    }

    #[test]
    fn a_long_run_takes_linear_time() {
        let long = "a1 !".repeat(1_000_000);
        assert_eq!(Family::Default.words(&long).collect::<String>(), long);
        for text in [" ".repeat(12_000_000), "a".repeat(4_000_000), "!\t".repeat(500_000)] {
            assert_eq!(words(&text).concat(), text);
        }
    }
}
