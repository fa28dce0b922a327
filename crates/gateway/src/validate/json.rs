//! Parses JSON, and reports the position of a syntax error or of a duplicate key.

use serde_json::Value;

use super::{FieldError, Loc, duplicates, echo};

/// The body is not valid JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError(pub FieldError);

/// Parses a request body.
///
/// # Errors
/// If the text is not valid JSON, or an object has a duplicate key (parsers disagree on which value
/// counts). Names the position or the key. An empty body is reported as missing.
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
        // Removes serde_json's suffix " at line L column C": the position is part of our own
        // message.
        let text = error.to_string();
        let reason = text.split(" at line ").next().unwrap_or(&text);
        JsonError(FieldError::new(
            ["body".into(), Loc::Index(offset(body, line, column))],
            "json_invalid",
            format!("the body is not valid JSON: {reason} at line {line}, column {column}"),
        ))
    })?;
    let scan = Scan::of(body);
    // Each key of the text is followed by a colon, and the value has each key of an object once.
    if scan.colons != keys(&value)
        && let Some(error) = duplicates::first(body)
    {
        return Err(JsonError(error));
    }
    match scan.beyond_range {
        None => Ok(value),
        Some((at, number)) => Err(JsonError(FieldError::new(
            ["body".into(), Loc::Index(at)],
            "json_invalid",
            format!("the number {} is out of range: at most 1.8e308 is allowed", echo(number)),
        ))),
    }
}

/// Returns the number of keys in all objects of a value.
fn keys(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(keys).sum(),
        Value::Object(map) => map.len() + map.values().map(keys).sum::<usize>(),
        _ => 0,
    }
}

/// Facts about a valid JSON text that its parsed value does not have.
#[derive(Default)]
struct Scan<'a> {
    /// The number of colons outside of strings.
    colons: usize,
    /// The first number that is outside the range of most JSON parsers, and its position. All other
    /// numbers keep their spelling.
    beyond_range: Option<(usize, &'a str)>,
}

impl<'a> Scan<'a> {
    fn of(json: &'a [u8]) -> Self {
        let (mut scan, mut at) = (Self::default(), 0);
        while at < json.len() {
            let rest = &json[at..];
            at += match rest[0] {
                b'"' => string_length(rest),
                b'-' | b'0'..=b'9' => {
                    let is_part =
                        |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                    let length = rest.iter().take_while(|byte| is_part(byte)).count();
                    let number = std::str::from_utf8(&rest[..length]).unwrap_or_default();
                    let is_beyond = || number.parse::<f64>().is_ok_and(f64::is_infinite);
                    if scan.beyond_range.is_none() && is_beyond() {
                        scan.beyond_range = Some((at, number));
                    }
                    length
                }
                byte => {
                    scan.colons += usize::from(byte == b':');
                    1
                }
            };
        }
        scan
    }
}

/// Returns the length in bytes of the string at the start of `json`, including the quotes.
fn string_length(json: &[u8]) -> usize {
    let mut escaped = true; // the first quote ends nothing
    let is_end = |byte: &u8| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    };
    json.iter().position(is_end).map_or(json.len(), |end| end + 1)
}

/// Converts a 1-based line and column to a byte offset.
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
    fn json_errors_name_the_position() {
        let JsonError(error) = parse(b"{\"prompt\":\n  oops}").unwrap_err();
        assert_eq!(error.kind, "json_invalid");
        assert_eq!(error.loc, ["body".into(), Loc::Index(13)]);
        assert_eq!(error.message, "the body is not valid JSON: expected value at line 2, column 3");
    }

    #[test]
    fn empty_body_is_reported_as_missing() {
        for body in [&b""[..], b" \n\t"] {
            assert_eq!(parse(body).unwrap_err().0.kind, "missing");
        }
    }

    #[test]
    fn invalid_json_is_refused() {
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
    fn numbers_keep_their_spelling() {
        for number in [
            "9007199254740993",
            "18446744073709551617",
            "1000000000000000000000000000001",
            "0.1000000000000000000001",
            "-0",
        ] {
            let value = parse(format!("{{\"a\\\" 1e999\": [{number}]}}").as_bytes()).unwrap();
            assert_eq!(value["a\" 1e999"].to_string(), format!("[{number}]"));
        }
        for (body, at, number) in [
            ("{\"a\": 1e999}", 6, "1e999"),
            ("[1e308, \"\\\\\", -1E+400]", 14, "-1E+400"),
            (&format!("[{}]", "9".repeat(400)), 1, "999"),
        ] {
            let JsonError(error) = parse(body.as_bytes()).unwrap_err();
            assert_eq!((error.kind, &error.loc[1]), ("json_invalid", &Loc::Index(at)), "{body}");
            assert!(error.message.contains(number), "{}", error.message);
        }
    }

    #[test]
    fn byte_order_mark_is_accepted() {
        assert!(parse(b"\xef\xbb\xbf{}").is_ok());
    }
}
