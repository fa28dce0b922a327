//! Parses lines of `llm_requests.log` and `audit.log`: `[time] name=value name="quoted value" …`.

use serde_json::{Number, Value};
use time::PrimitiveDateTime;

use super::fields::{Fields, instant, rfc3339};

/// The names of spans, which the log writes as `2.30s`. Their parsed value is the number of seconds.
const SPANS: [&str; 3] = ["queue_wait", "processing_time", "total_time"];

/// Returns the time and fields of a line of `llm_requests.log`, or `None` if it does not have the format.
pub(super) fn parse(line: &str) -> Option<(PrimitiveDateTime, Fields)> {
    let (at, fields) = fields(line)?;
    fields.get("task_id")?;
    fields.get("status")?;
    Some((at, fields))
}

/// Returns a line's time and fields, or `None` if it does not have the format. Unknown names are kept, since later
/// versions may append fields.
pub(super) fn fields(line: &str) -> Option<(PrimitiveDateTime, Fields)> {
    let (at, mut rest) = line.strip_prefix('[')?.split_once("] ")?;
    let at = instant(at)?;
    let mut fields = Fields::default();
    fields.push("time", rfc3339(at));
    while !rest.is_empty() {
        let (name, tail) = rest.split_once('=')?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(is_name) {
            return None;
        }
        let (value, tail) = if tail.starts_with('"') { quoted(tail)? } else { bare(name, tail) };
        fields.push(name, value);
        rest = match tail.strip_prefix(' ') {
            Some(tail) => tail,
            None if tail.is_empty() => tail,
            None => return None,
        };
    }
    Some((at, fields))
}

/// Splits off a JSON string. Returns it and the rest.
fn quoted(text: &str) -> Option<(Value, &str)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let value = values.next()?.ok()?;
    Some((value, &text[values.byte_offset()..]))
}

/// Splits off a value up to the next space. Returns it, as a number if it is one, and the rest.
fn bare<'a>(name: &str, text: &'a str) -> (Value, &'a str) {
    let (value, rest) = text.split_at(text.find(' ').unwrap_or(text.len()));
    let figure =
        if SPANS.contains(&name) { value.strip_suffix('s').unwrap_or(value) } else { value };
    // A fraction without trailing zeros: `2.30s` is 2.3.
    let number = figure.parse::<Number>().map(|number| match number.as_i64() {
        Some(_) => number,
        None => number.as_f64().and_then(Number::from_f64).unwrap_or(number),
    });
    (number.map_or_else(|_| Value::from(value), Value::Number), rest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(line: &str) -> Option<Value> {
        parse(line).map(|(_, fields)| serde_json::to_value(&fields).unwrap())
    }

    #[test]
    fn request_lines_of_the_contract_are_parsed() {
        let line = "[2025-11-21 15:30:45] task_id=0192 status=success prompt_tokens=50 completion_tokens=200 tokens_per_sec=34.48 queue_wait=2.30s processing_time=5.80s total_time=8.10s";
        assert_eq!(
            read(line).unwrap(),
            json!({
                "time": "2025-11-21T15:30:45Z", "task_id": "0192", "status": "success",
                "prompt_tokens": 50, "completion_tokens": 200, "tokens_per_sec": 34.48,
                "queue_wait": 2.3, "processing_time": 5.8, "total_time": 8.1,
            })
        );
        let line = "[2025-11-21 15:31:12] task_id=0193 status=error error_message=\"CUDA out of memory\" queue_wait=0.50s processing_time=3.20s total_time=3.70s";
        assert_eq!(read(line).unwrap()["error_message"], "CUDA out of memory");
        assert_eq!(read(line).unwrap()["total_time"], 3.7);
    }

    #[test]
    fn quotes_escapes_and_unknown_fields_are_parsed() {
        // The error message as the writer escapes it: x" status=success\n\u2028 \
        let line = "[2025-11-21 15:31:12] task_id=a status=error error_message=\"x\\\" status\\u003dsuccess\\n\\u2028 \\\\\" queue_wait=0.50s model=Qwen/Qwen3 note=\"a b\" wait=7s count=1 status=success";
        let fields = read(line).unwrap();
        assert_eq!(fields["error_message"], "x\" status=success\n\u{2028} \\");
        assert_eq!(fields["status"], "error", "the first counts");
        assert_eq!((&fields["model"], &fields["note"]), (&json!("Qwen/Qwen3"), &json!("a b")));
        assert_eq!((&fields["wait"], &fields["count"]), (&json!("7s"), &json!(1)));
    }

    #[test]
    fn malformed_request_lines_are_ignored() {
        for line in [
            "",
            "hello",
            "[yesterday] task_id=a status=success",
            "[2025-11-21 15:31:12] task_id=a",
            "[2025-11-21 15:31:12] task_id=a status=error error_message=\"torn",
            "[2025-11-21 15:31:12] task_id=a status=error error_message=\"x\"y=1",
            "[2025-11-21 15:31:12] task_id=a status=ok =1",
            "[2025-11-21 15:31:12] task_id=a status=ok word",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
