//! Prints values as Python does (`str`, `repr`) and dumps them (`json.dumps`): templates are written and tested
//! with Python, and models were trained on its output.

use std::fmt::Write;

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

use super::value::LongInteger;

/// The arguments of `json.dumps`.
#[derive(Debug, Clone)]
pub(super) struct JsonStyle {
    pub(super) indent: Option<usize>,
    pub(super) item_separator: String,
    pub(super) key_separator: String,
    pub(super) sort_keys: bool,
    pub(super) ensure_ascii: bool,
}

impl JsonStyle {
    /// Returns Python's defaults, except for `ensure_ascii`, which `transformers` turns off.
    pub(super) fn new(indent: Option<usize>) -> Self {
        Self {
            indent,
            item_separator: if indent.is_some() { "," } else { ", " }.to_owned(),
            key_separator: ": ".to_owned(),
            sort_keys: false,
            ensure_ascii: false,
        }
    }
}

/// Returns `str(value)`; empty for an undefined value, as Jinja prints it.
pub(super) fn str(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => {
            let mut out = String::new();
            write_repr(value, &mut out);
            out
        }
    }
}

fn write_repr(value: &Value, out: &mut String) {
    if let Some(digits) = LongInteger::digits(value) {
        return out.push_str(digits);
    }
    match value.kind() {
        ValueKind::Undefined => {}
        ValueKind::String => write_quoted(value.as_str().unwrap_or_default(), out),
        ValueKind::Number => write_number(value, out),
        ValueKind::Seq | ValueKind::Iterable => {
            let (open, close) = if value.is_tuple() { ('(', ')') } else { ('[', ']') };
            out.push(open);
            for (index, item) in value.try_iter().into_iter().flatten().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write_repr(&item, out);
            }
            out.push_str(if value.is_tuple() && value.len() == Some(1) { "," } else { "" });
            out.push(close);
        }
        ValueKind::Map => {
            out.push('{');
            for (index, (key, value)) in entries(value).into_iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write_repr(&key, out);
                out.push_str(": ");
                write_repr(&value, out);
            }
            out.push('}');
        }
        _ => push_display(value, out),
    }
}

/// Writes the `repr` of a text: in single quotes, unless it contains single and no double quotes.
fn write_quoted(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for char in text.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            char if char == quote => out.extend(['\\', quote]),
            char if char < ' ' || char == '\x7F' => {
                push(out, format_args!("\\x{:02x}", char as u32))
            }
            char => out.push(char),
        }
    }
    out.push(quote);
}

/// Writes the `repr` of a number. Floats: shortest digits, with an exponent below 1e-4 and from 1e16.
fn write_number(value: &Value, out: &mut String) {
    let float = match f64::try_from(value.clone()) {
        Ok(float) if !value.is_integer() => float,
        _ => return push_display(value, out),
    };
    if !float.is_finite() {
        out.push_str(match float {
            _ if float.is_nan() => "nan",
            _ if float > 0.0 => "inf",
            _ => "-inf",
        });
    } else if float != 0.0 && !(1e-4..1e16).contains(&float.abs()) {
        let scientific = format!("{float:e}");
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        push(out, format_args!("{digits}e{sign}{exponent:0>2}"));
    } else {
        push(out, format_args!("{float:?}"));
    }
}

/// Returns `json.dumps(value, …)`.
pub(super) fn json(value: &Value, style: &JsonStyle) -> Result<String, Error> {
    let mut out = String::new();
    write_json(value, style, 0, &mut out)?;
    Ok(out)
}

fn write_json(
    value: &Value,
    style: &JsonStyle,
    depth: usize,
    out: &mut String,
) -> Result<(), Error> {
    if let Some(digits) = LongInteger::digits(value) {
        out.push_str(digits);
        return Ok(());
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => match f64::try_from(value.clone()) {
            Ok(float) if float.is_nan() => out.push_str("NaN"),
            Ok(float) if float.is_infinite() => {
                out.push_str(if float > 0.0 { "Infinity" } else { "-Infinity" });
            }
            _ => write_number(value, out),
        },
        ValueKind::String => {
            write_json_text(value.as_str().unwrap_or_default(), style.ensure_ascii, out);
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter()?.map(|item| (None, item)).collect();
            write_json_items(['[', ']'], items, style, depth, out)?;
        }
        ValueKind::Map => {
            let mut entries = entries(value);
            if style.sort_keys {
                entries.sort_by_cached_key(|(key, _)| key_text(key));
            }
            let items = entries.into_iter().map(|(key, value)| (Some(key_text(&key)), value));
            write_json_items(['{', '}'], items.collect(), style, depth, out)?;
        }
        kind => {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                format!("an {kind} value cannot be written as JSON"),
            ));
        }
    }
    Ok(())
}

fn write_json_items(
    [open, close]: [char; 2],
    items: Vec<(Option<String>, Value)>,
    style: &JsonStyle,
    depth: usize,
    out: &mut String,
) -> Result<(), Error> {
    let new_line = |depth: usize, out: &mut String| {
        if let Some(indent) = style.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent.min(64) * depth));
        }
    };
    out.push(open);
    let filled = !items.is_empty();
    for (index, (key, value)) in items.into_iter().enumerate() {
        if index > 0 {
            out.push_str(&style.item_separator);
        }
        new_line(depth + 1, out);
        if let Some(key) = key {
            write_json_text(&key, style.ensure_ascii, out);
            out.push_str(&style.key_separator);
        }
        write_json(&value, style, depth + 1, out)?;
    }
    if filled {
        new_line(depth, out);
    }
    out.push(close);
    Ok(())
}

/// Returns a key's text: Python writes `true`, `null` and numbers as in values.
fn key_text(key: &Value) -> String {
    match key.kind() {
        ValueKind::String => key.as_str().unwrap_or_default().to_owned(),
        ValueKind::None => "null".to_owned(),
        ValueKind::Bool => key.is_true().to_string(),
        _ => str(key),
    }
}

fn write_json_text(text: &str, ensure_ascii: bool, out: &mut String) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0C' => out.push_str("\\f"),
            char if char < ' ' || (ensure_ascii && !char.is_ascii()) => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    push(out, format_args!("\\u{unit:04x}"));
                }
            }
            char => out.push(char),
        }
    }
    out.push('"');
}

fn entries(map: &Value) -> Vec<(Value, Value)> {
    let keys = map.try_iter().into_iter().flatten();
    keys.map(|key| (key.clone(), map.get_item(&key).unwrap_or_default())).collect()
}

fn push_display(value: &Value, out: &mut String) {
    push(out, format_args!("{value}"));
}

/// Appends formatted text. Writing to a `String` can't fail.
fn push(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Value {
        super::super::template_value(&serde_json::from_str(json).unwrap())
    }

    // Expected texts are what CPython 3.11 prints.
    #[test]
    fn values_are_printed_like_python() {
        let cases = [
            (r#"[true, null, "a", 1, 1.0, -0.5]"#, r#"[True, None, 'a', 1, 1.0, -0.5]"#),
            (r#"{"z": "it's", "a": {"b": []}}"#, r#"{'z': "it's", 'a': {'b': []}}"#),
            (r#"["\n\\\"'", "é\u0001"]"#, r#"['\n\\"\'', 'é\x01']"#),
            (
                "[1e16, 1.5e-7, 123456789012345.0, 1e22, 0.0001]",
                "[1e+16, 1.5e-07, 123456789012345.0, 1e+22, 0.0001]",
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(str(&parse(json)), expected);
        }
        assert_eq!(str(&Value::from("plain")), "plain");
        assert_eq!(str(&Value::UNDEFINED), "");
    }

    #[test]
    fn values_are_dumped_to_json_like_python() {
        let value =
            parse(r#"{"z": [1, 2.0, true, null], "a": "é<>&'\"\n\u0007", "e": {}, "l": []}"#);
        assert_eq!(
            json(&value, &JsonStyle::new(None)).unwrap(),
            r#"{"z": [1, 2.0, true, null], "a": "é<>&'\"\n\u0007", "e": {}, "l": []}"#
        );
        assert_eq!(
            json(&parse(r#"{"b": [1], "a": {}}"#), &JsonStyle::new(Some(2))).unwrap(),
            "{\n  \"b\": [\n    1\n  ],\n  \"a\": {}\n}"
        );
        let style = JsonStyle { sort_keys: true, ensure_ascii: true, ..JsonStyle::new(None) };
        assert_eq!(
            json(&parse(r#"{"b": "🦙", "a": 1e30}"#), &style).unwrap(),
            r#"{"a": 1e+30, "b": "\ud83e\udd99"}"#
        );
        assert!(json(&Value::UNDEFINED, &JsonStyle::new(None)).is_err());
    }
}
