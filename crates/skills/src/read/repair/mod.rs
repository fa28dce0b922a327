//! Reads the JSON of an answer: strictly if it is valid, else by a tolerant parser that says what it repaired.

mod literals;
mod parser;
mod strings;

use serde_json::Value;

use super::fence;
use super::warnings::Warnings;

/// What was repaired, each kind once.
#[derive(Debug, Default)]
struct Repairs {
    kinds: Vec<&'static str>,
    /// Whether the text ends within a value, and something of it is lost.
    is_cut: bool,
    /// Whether there are words outside of the values.
    has_words: bool,
}

impl Repairs {
    fn note(&mut self, kind: &'static str) {
        if !self.kinds.contains(&kind) {
            self.kinds.push(kind);
        }
    }
}

/// The JSON of an answer.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The values; none if there is no JSON.
    pub(super) values: Vec<Value>,
    /// Whether the answer ends within a value, and something of it is lost.
    pub(super) is_cut: bool,
    /// Whether closing brackets are missing.
    pub(super) lacks_brackets: bool,
}

/// Returns the JSON of an answer. Warns of what was repaired.
pub(super) fn values(text: &str, warnings: &mut Warnings) -> Found {
    if let Ok(value) = serde_json::from_str(text) {
        return match value {
            // JSON within a string of JSON.
            Value::String(inner) if inner.trim_start().starts_with(['[', '{']) => {
                warnings.add("the JSON was repaired: escaped JSON");
                of_bodies(&inner, warnings)
            }
            value => Found { values: vec![value], ..Found::default() },
        };
    }
    of_bodies(text, warnings)
}

fn of_bodies(text: &str, warnings: &mut Warnings) -> Found {
    let payload = fence::payload(text, &["json", "json5", "jsonc"], &['[', '{']);
    let mut repairs = Repairs { has_words: payload.has_words_around, ..Repairs::default() };
    let (mut values, mut is_deep) = (Vec::new(), false);
    for body in payload.bodies {
        match serde_json::from_str(body) {
            Ok(value) => values.push(value),
            Err(_) => {
                let unescaped = unescaped(body);
                if unescaped.is_some() {
                    repairs.note("escaped JSON");
                }
                let body = unescaped.as_deref().unwrap_or(body);
                is_deep |= parser::parse(body, &mut values, &mut repairs).is_err();
            }
        }
    }
    if is_deep {
        warnings.add(format!(
            "the JSON is nested more than {} deep, and was left out from there on",
            parser::MAX_DEPTH
        ));
    }
    let is_cut = repairs.is_cut;
    let lacks_brackets = repairs.kinds.contains(&parser::MISSING_BRACKETS);
    if values.is_empty() {
        return Found { values, is_cut, lacks_brackets };
    }
    if repairs.has_words {
        warnings.add("words outside of the JSON were left out");
    }
    if repairs.is_cut {
        warnings.add("the answer ends within its JSON; what is incomplete was left out");
    }
    if !repairs.kinds.is_empty() {
        warnings.add(format!("the JSON was repaired: {}", repairs.kinds.join(", ")));
    }
    Found { values, is_cut, lacks_brackets }
}

/// Takes one level of escapes from a text whose quotes are all escaped: `{\"a\": 1}`.
fn unescaped(text: &str) -> Option<String> {
    let first = text.find('"')?;
    if first == 0 || text.as_bytes()[first - 1] != b'\\' {
        return None;
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    serde_json::from_str(&quoted).ok().or_else(|| Some(text.replace("\\\"", "\"")))
}
