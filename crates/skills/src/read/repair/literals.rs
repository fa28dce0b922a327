//! What stands in JSON without quotes: literals and numbers, also those that JSON does not have, and words.

use serde_json::{Number, Value};

/// Something without quotes.
#[derive(Debug)]
pub(super) struct Bare {
    /// The value; `None` if it is no value, or cut by the end of the text.
    pub(super) value: Option<Value>,
    /// Its length in bytes, at least one character.
    pub(super) length: usize,
    /// What is wrong with it.
    pub(super) repair: Option<&'static str>,
}

impl Bare {
    /// Reads the beginning of a text, which is not empty.
    pub(super) fn read(text: &str) -> Self {
        let is_delimiter =
            |c: char| matches!(c, ',' | ']' | '}' | ')' | '\n' | '[' | '{' | '(' | '"');
        let first = text.find(|c: char| is_delimiter(c) || c.is_whitespace()).unwrap_or(text.len());
        // Without a comma the next value follows behind a space.
        if let Some((value, repair)) = literal(&text[..first]) {
            // A number may go on behind the end.
            let is_cut = first == text.len() && value.is_number();
            return Self { value: (!is_cut).then_some(value), length: first, repair };
        }
        let end = text.find(is_delimiter).unwrap_or(text.len());
        let length = end.max(text.chars().next().map_or(1, char::len_utf8));
        let word = text[..length].trim();
        let (value, repair) = if end == text.len() {
            (None, None)
        } else if word.contains(char::is_alphanumeric) {
            (Some(word.into()), Some("text without quotes"))
        } else if word.trim_matches(['.', '…']).is_empty() {
            (None, Some("ellipses"))
        } else {
            (None, Some("unreadable parts, which were left out"))
        };
        Self { value, length, repair }
    }
}

/// Returns the value of a word, and what is wrong with how it is written.
fn literal(word: &str) -> Option<(Value, Option<&'static str>)> {
    let python = Some("Python's literals");
    Some(match word {
        "true" => (true.into(), None),
        "false" => (false.into(), None),
        "null" => (Value::Null, None),
        "True" | "TRUE" => (true.into(), python),
        "False" | "FALSE" => (false.into(), python),
        "None" | "NULL" | "undefined" => (Value::Null, python),
        "NaN" | "nan" | "Infinity" | "-Infinity" | "inf" | "-inf" => {
            (Value::Null, Some("numbers that JSON does not have"))
        }
        _ => return number(word),
    })
}

fn number(word: &str) -> Option<(Value, Option<&'static str>)> {
    let is_number =
        word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    if !is_number || !word.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if let Ok(number) = serde_json::from_str::<Number>(word) {
        return Some((number.into(), None));
    }
    // `1.`, `.5`, `+3`, `007`: Rust reads them all.
    let value: f64 = word.parse().ok().filter(|value: &f64| value.is_finite())?;
    let whole = (value.fract() == 0.0 && value.abs() < 1e15).then(|| Value::from(value as i64));
    Some((whole.unwrap_or_else(|| value.into()), Some("numbers that are not JSON's")))
}
