//! Keeps the text of a message from being read as the template's own special tokens.
//!
//! A template inserts messages between its special tokens. The result is one text, in which `<|im_start|>`
//! from a user looks like `<|im_start|>` from the template. So before rendering, a sentinel character is
//! inserted into the messages wherever such a token is (or may arise after the template has cut and joined
//! text). After rendering, the sentinels are removed and their positions recorded: the tokenizer reads no
//! text with such a position inside as a special token. The text itself is the same with and without the
//! guard.

use minijinja::Value;
use minijinja::value::ValueKind;

use crate::text::vocabulary::{TokenKind, Vocabulary};

/// Noncharacters: they do not occur in regular text, and templates do not change them.
const SENTINELS: std::ops::RangeInclusive<char> = '\u{FDD0}'..='\u{FDEF}';

/// Knows where sentinels must be inserted.
#[derive(Debug)]
pub(super) struct Guard {
    /// Characters that get a sentinel in front: the second characters of control tokens, such as `|`.
    /// This breaks every token, even one that a template joins from two halves.
    chars: Vec<char>,
    /// Texts of control tokens whose second character is common in text, such as `<s>`.
    texts: Vec<String>,
    /// The template's source; a sentinel in it would be mistaken for an inserted one.
    template: String,
}

impl Guard {
    pub(super) fn new(vocabulary: &Vocabulary, template: &str) -> Self {
        let mut guard =
            Self { chars: Vec::new(), texts: Vec::new(), template: template.to_owned() };
        for (_, text, kind) in vocabulary.iter() {
            let steers = match kind {
                TokenKind::Control => true,
                TokenKind::UserDefined => text.starts_with("<|"), // some converters mark them so
                TokenKind::Normal | TokenKind::Unused => false,
            };
            let Some(second) = text.chars().nth(1).filter(|_| steers) else { continue };
            if second.is_alphanumeric() || second == '/' {
                guard.texts.push(text.to_owned());
            } else if !guard.chars.contains(&second) {
                guard.chars.push(second);
            }
        }
        guard
    }

    /// Returns the sentinels that occur neither in these values nor in the template.
    pub(super) fn sentinels(&self, values: &[(&str, Value)]) -> Vec<char> {
        let mut used = [false; 32];
        let mut note = |text: &str| {
            for char in text.chars().filter(|char| SENTINELS.contains(char)) {
                used[char as usize - *SENTINELS.start() as usize] = true;
            }
        };
        note(&self.template);
        values.iter().for_each(|(_, value)| visit(value, &mut note));
        SENTINELS.zip(used).filter_map(|(char, used)| (!used).then_some(char)).collect()
    }

    /// Returns the value with sentinels in its texts.
    pub(super) fn mark(&self, value: &Value, sentinel: char) -> Value {
        match value.kind() {
            ValueKind::String => {
                match value.as_str().and_then(|text| self.mark_text(text, sentinel)) {
                    Some(marked) => Value::from(marked),
                    None => value.clone(),
                }
            }
            ValueKind::Seq | ValueKind::Iterable => match value.try_iter() {
                Ok(items) => items.map(|item| self.mark(&item, sentinel)).collect(),
                Err(_) => value.clone(),
            },
            ValueKind::Map => Value::from_pairs(
                pairs(value)
                    .map(|(key, value)| (self.mark(&key, sentinel), self.mark(&value, sentinel))),
            ),
            _ => value.clone(),
        }
    }

    /// Returns the text with sentinels; `None` if it needs none.
    fn mark_text(&self, text: &str, sentinel: char) -> Option<String> {
        let by_char = text.contains(self.chars.as_slice());
        let by_text = self.texts.iter().any(|token| text.contains(token.as_str()));
        if !by_char && !by_text {
            return None;
        }
        let mut marked = String::with_capacity(text.len() + text.len() / 8);
        let mut rest = text;
        while let Some(char) = rest.chars().next() {
            if self.chars.contains(&char) {
                marked.push(sentinel);
            }
            marked.push(char);
            if by_text && self.texts.iter().any(|token| rest.starts_with(token.as_str())) {
                marked.push(sentinel);
            }
            rest = &rest[char.len_utf8()..];
        }
        Some(marked)
    }
}

/// Removes the sentinels and returns their positions.
pub(super) fn strip(text: String, sentinel: char) -> (String, Vec<usize>) {
    if !text.contains(sentinel) {
        return (text, Vec::new());
    }
    let mut stripped = String::with_capacity(text.len());
    let mut marks = Vec::new();
    for part in text.split_inclusive(sentinel) {
        match part.strip_suffix(sentinel) {
            Some(part) => {
                stripped.push_str(part);
                marks.push(stripped.len());
            }
            None => stripped.push_str(part),
        }
    }
    (stripped, marks)
}

/// Returns the keys and values of a map.
pub(super) fn pairs(map: &Value) -> impl Iterator<Item = (Value, Value)> {
    map.try_iter().into_iter().flatten().map(|key| {
        let value = map.get_item(&key).unwrap_or_default();
        (key, value)
    })
}

/// Calls `see` with every text of a value, including keys.
fn visit(value: &Value, see: &mut impl FnMut(&str)) {
    match value.kind() {
        ValueKind::String => value.as_str().into_iter().for_each(see),
        ValueKind::Seq | ValueKind::Iterable => {
            value.try_iter().into_iter().flatten().for_each(|item| visit(&item, see));
        }
        ValueKind::Map => pairs(value).for_each(|(key, value)| {
            visit(&key, see);
            visit(&value, see);
        }),
        _ => {}
    }
}
