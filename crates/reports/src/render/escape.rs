//! Escapes untrusted text for each format.

use std::fmt::Write;

/// Escapes what a terminal interprets, in text on one line: control characters, all kinds of line ends, and marks that
/// change the direction of writing.
pub(crate) fn printable(text: &str) -> String {
    escaped(text, |c| c.is_control() || is_mark(c))
}

/// Escapes the same except line ends, in text of several lines.
pub(crate) fn harmless(text: &str) -> String {
    escaped(text, |c| c != '\n' && (c.is_control() || is_mark(c)))
}

fn is_mark(character: char) -> bool {
    matches!(
        character,
        '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{061c}'
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

fn escaped(text: &str, is_unsafe: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            c if !is_unsafe(c) => shown.push(c),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c => {
                // All of them are in the basic multilingual plane. Writing to a String can't fail.
                let _ = write!(shown, "\\u{:04x}", u32::from(c));
            }
        }
    }
    shown
}

/// Escapes text for a cell of a Markdown table, where it neither formats nor links nor ends the cell.
pub(crate) fn markdown(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for character in printable(text).chars() {
        match character {
            '&' => cell.push_str("&amp;"),
            '<' => cell.push_str("&lt;"),
            '>' => cell.push_str("&gt;"),
            // Links from bare addresses need them.
            ':' => cell.push_str("&#58;"),
            '@' => cell.push_str("&#64;"),
            '.' => cell.push_str("&#46;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '(' | ')' | '#' | '|' | '~' | '!' | '$' => {
                cell.push('\\');
                cell.push(character);
            }
            c => cell.push(c),
        }
    }
    cell
}

/// Escapes text for HTML, inside elements and quoted attributes.
pub(crate) fn html(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in printable(text).chars() {
        match character {
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            '"' => shown.push_str("&quot;"),
            '\'' => shown.push_str("&#39;"),
            c => shown.push(c),
        }
    }
    shown
}

/// Guards a cell of CSV against spreadsheets that take it for a formula: prefixes it with an apostrophe, as OWASP
/// advises. What needs quotes gets them from the CSV writer.
pub(crate) fn csv(text: &str) -> String {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}
