//! Text to JSON, with the place where it stops being JSON, or where a key is given twice.

use serde_json::Value;

use super::{FieldError, Loc, duplicates};

/// The body is not JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError(pub FieldError);

/// Reads a request's body.
///
/// # Errors
/// Names the position where the text stops being JSON, or the key that an object has twice: which of the
/// two counts, readers disagree on. An empty body is a missing one.
pub fn parse(body: &[u8]) -> Result<Value, JsonError> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body); // some shells write a BOM
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(JsonError(FieldError::new(
            ["body".into()],
            "missing",
            "the body is empty: send a JSON object such as {\"prompt\": \"Hello\"}",
        )));
    }
    let value = serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        // serde_json appends " at line L column C"; the position is said once, here.
        let text = error.to_string();
        let reason = text.split(" at line ").next().unwrap_or(&text);
        JsonError(FieldError::new(
            ["body".into(), Loc::Index(offset(body, line, column))],
            "json_invalid",
            format!("the body is not valid JSON: {reason} at line {line}, column {column}"),
        ))
    })?;
    match duplicates::first(body) {
        Some(error) => Err(JsonError(error)),
        None => Ok(value),
    }
}

/// The byte offset of a 1-based line and column.
fn offset(body: &[u8], line: usize, column: usize) -> usize {
    let before: usize = body
        .split_inclusive(|byte| *byte == b'\n')
        .take(line.saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    (before + column.saturating_sub(1)).min(body.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_the_mistake_is_named() {
        let JsonError(error) = parse(b"{\"prompt\":\n  oops}").unwrap_err();
        assert_eq!(error.kind, "json_invalid");
        assert_eq!(error.loc, ["body".into(), Loc::Index(13)]);
        assert_eq!(error.message, "the body is not valid JSON: expected value at line 2, column 3");
    }

    #[test]
    fn nothing_at_all_is_missing() {
        for body in [&b""[..], b" \n\t"] {
            assert_eq!(parse(body).unwrap_err().0.kind, "missing");
        }
    }

    #[test]
    fn what_json_forbids_is_refused() {
        for body in [
            &b"{"[..],
            b"{\"prompt\": NaN}",
            b"{\"temperature\": Infinity}",
            b"{\"temperature\": 1e999}",
            b"{\"prompt\": \"\\ud800\"}",
            b"{\"prompt\": \"\xff\"}",
            b"{} {}",
            &b"[".repeat(5000),
        ] {
            assert_eq!(parse(body).unwrap_err().0.kind, "json_invalid", "{body:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_harm() {
        assert!(parse(b"\xef\xbb\xbf{}").is_ok());
    }
}
