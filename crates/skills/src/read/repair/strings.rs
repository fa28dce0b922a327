//! Strings in JSON that may not be valid: where they end, and what their escapes say.

use super::Repairs;

/// How far to look for the end of a key.
const MAX_KEY: usize = 80;

/// Where a string is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Before a colon.
    Key,
    /// The value of an object's member.
    Member,
    /// An element of a list.
    Element,
}

/// Looks ahead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scan<'a> {
    /// All of the text.
    pub(super) text: &'a str,
    /// The position, in bytes.
    pub(super) at: usize,
}

impl<'a> Scan<'a> {
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(super) fn blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Returns the word here, up to a character that no key without quotes has.
    pub(super) fn bare_key(&self) -> &'a str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let is_of_key = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '$');
        let end =
            rest.char_indices().find(|(_, c)| !is_of_key(*c)).map_or(rest.len(), |(at, _)| at);
        &rest[..end]
    }

    /// Returns whether a key without quotes and a colon are here.
    pub(super) fn has_bare_key(mut self) -> bool {
        let window = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let is_of_key =
            |byte: &u8| byte.is_ascii_alphanumeric() || *byte >= 0x80 || b"_-.$".contains(byte);
        let length = window.iter().take(MAX_KEY).take_while(|byte| is_of_key(byte)).count();
        self.at += length;
        self.blanks();
        length > 0 && matches!(self.peek(), Some(b':' | b'='))
    }

    /// Returns whether a key in quotes and a colon are here.
    pub(super) fn is_key_of_colon(self) -> bool {
        self.key() == Some(true)
    }

    /// Returns whether a key in quotes is followed by a colon; `None` if its end is not near.
    fn key(mut self) -> Option<bool> {
        let bytes = self.text.as_bytes();
        let quote = self.peek()?;
        let window = bytes.get(self.at + 1..).unwrap_or_default();
        let length = window.iter().take(MAX_KEY).position(|byte| *byte == quote)?;
        self.at += length + 2;
        self.blanks();
        Some(matches!(self.peek(), Some(b':' | b'=')))
    }

    /// Returns whether the quote before this position ends a string, by what follows it.
    fn ends_string(mut self, place: Place) -> bool {
        let begin = self.at;
        if place == Place::Key {
            let next = self.text.get(self.at..).unwrap_or_default().chars().next();
            return !next.is_some_and(char::is_alphanumeric);
        }
        self.blanks();
        match self.peek() {
            None | Some(b'}' | b']' | b')' | b'/' | b'#') => true,
            Some(b',') => {
                self.at += 1;
                self.blanks();
                match (self.peek(), place) {
                    (None | Some(b'}' | b']' | b'{' | b'/' | b'#'), _) => true,
                    (Some(b'"' | b'\''), Place::Member) => self.key() != Some(false),
                    (Some(_), Place::Member) => self.has_bare_key(),
                    (Some(b'"' | b'\'' | b'[' | b'(' | b'-' | b'0'..=b'9'), _) => true,
                    (Some(_), _) => {
                        ["true", "false", "null", "True", "False", "None"].iter().any(|word| {
                            self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word))
                        })
                    }
                }
            }
            // A comma is missing.
            Some(b'"' | b'\'') if place == Place::Member => self.key() == Some(true),
            Some(b'"' | b'\'' | b'{' | b'[') => self.at > begin || self.peek() == Some(b'{'),
            Some(b'\\') => place == Place::Element || self.at > begin,
            Some(_) => place == Place::Member && self.at > begin && self.has_bare_key(),
        }
    }
}

/// Reads a string whose quote is at `at`. Returns `None` if the text ends within it.
pub(super) fn string(
    text: &str,
    at: &mut usize,
    place: Place,
    repairs: &mut Repairs,
) -> Option<String> {
    let quote = if text.as_bytes().get(*at) == Some(&b'\'') { '\'' } else { '"' };
    if quote == '\'' {
        repairs.note("single quotes");
    }
    *at += 1;
    let mut value = String::new();
    let mut characters = text.get(*at..).unwrap_or_default().char_indices();
    let begin = *at;
    while let Some((offset, character)) = characters.next() {
        match character {
            c if c == quote => {
                let next = begin + offset + 1;
                if (Scan { text, at: next }).ends_string(place) {
                    *at = next;
                    return Some(value);
                }
                repairs.note("quotes inside strings");
                value.push(quote);
            }
            '\\' => {
                let Some((_, escaped)) = characters.next() else { break };
                match escaped {
                    'n' => value.push('\n'),
                    't' => value.push('\t'),
                    'r' => value.push('\r'),
                    'b' => value.push('\u{8}'),
                    'f' => value.push('\u{c}'),
                    '"' | '\\' | '/' => value.push(escaped),
                    '\'' => {
                        value.push('\'');
                        repairs.note("escaped apostrophes");
                    }
                    'u' => match unicode(characters.as_str()) {
                        Some((decoded, length)) => {
                            value.push(decoded);
                            characters.nth(length - 1);
                        }
                        None => {
                            value.push_str("\\u");
                            repairs.note("unknown escapes in strings");
                        }
                    },
                    other => {
                        value.push('\\');
                        value.push(other);
                        repairs.note("unknown escapes in strings");
                    }
                }
            }
            '\n' | '\r' | '\t' => {
                value.push(character);
                repairs.note("line breaks inside strings");
            }
            other => value.push(other),
        }
    }
    *at = text.len();
    None
}

/// Returns the character of the digits behind `\u`, and how many characters they take.
fn unicode(rest: &str) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let digits = rest.get(at..at + 4)?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
    };
    let first = unit(0)?;
    let second = rest.get(4..6).filter(|between| *between == "\\u").and_then(|_| unit(6));
    if let Some(second) = second
        && let Some(Ok(pair)) = char::decode_utf16([first, second]).next()
        && (0xd800..0xdc00).contains(&first)
    {
        return Some((pair, 10));
    }
    let decoded = char::decode_utf16([first]).next().and_then(Result::ok);
    Some((decoded.unwrap_or(char::REPLACEMENT_CHARACTER), 4))
}
