//! Reads times of a video: `mm:ss.ff`, `hh:mm:ss`, seconds.

use serde_json::Value;

/// The longest text of a time.
const MAX_TIME: usize = 40;

/// Returns the seconds of a number or a text.
pub(super) fn seconds(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => {
            number.as_f64().filter(|seconds| seconds.is_finite() && *seconds >= 0.0)
        }
        Value::String(text) => of_text(text),
        _ => None,
    }
}

/// Returns the seconds of `01:02.50`, `1:02:03`, `12.5s`, `<12.5 seconds>`.
pub(super) fn of_text(text: &str) -> Option<f64> {
    let text = text.trim().trim_matches(['<', '>', '[', ']', '(', ')', '"', '\'', '~']).trim();
    if text.len() > MAX_TIME {
        return None;
    }
    const UNITS: [&str; 5] = ["seconds", "second", "secs", "sec", "s"];
    let lower = text.to_ascii_lowercase();
    let unit = UNITS.iter().find_map(|unit| lower.strip_suffix(unit));
    if let Some(number) = unit {
        let (minutes, rest) = number.split_once('m').unwrap_or(("0", number));
        let rest = rest.trim_start_matches("inutes").trim_start_matches("in");
        return Some(60.0 * of_part(minutes.trim())? + of_part(rest.trim())?);
    }
    let mut total = 0.0;
    let mut parts = 0;
    for part in text.split(':') {
        total = total * 60.0 + of_part(part.trim())?;
        parts += 1;
    }
    (parts <= 3).then_some(total)
}

/// Reads a number without a sign: `25`, `25.00`, `25,00`.
fn of_part(text: &str) -> Option<f64> {
    let is_number = !text.is_empty()
        && text.len() <= 12
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b',');
    is_number.then(|| text.replace(',', ".").parse().ok()).flatten()
}

/// Returns the seconds of `00:25.00 - 00:46.00`, and of a moment twice.
pub(super) fn range(text: &str) -> Option<(f64, f64)> {
    if text.len() > 3 * MAX_TIME {
        return None;
    }
    let text = text.trim().trim_start_matches(['<', '[', '(']).trim_start();
    let text = text.strip_prefix("from ").or_else(|| text.strip_prefix("From ")).unwrap_or(text);
    const BETWEEN: [&str; 10] =
        [" - ", " – ", " — ", " to ", " until ", " and ", "-->", "~", "–", "-"];
    let ends = BETWEEN.iter().find_map(|between| text.split_once(between));
    match ends {
        Some((start, end)) => Some((of_text(start)?, of_text(end)?)),
        None => of_text(text).map(|time| (time, time)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ways_to_write_a_time() {
        for (text, expected) in [
            ("00:25.00", Some(25.0)),
            ("01:02.50", Some(62.5)),
            ("1:02:03", Some(3723.0)),
            ("00:00:07.25", Some(7.25)),
            ("12.5s", Some(12.5)),
            ("12.5 seconds", Some(12.5)),
            ("<12.5 seconds>", Some(12.5)),
            ("1m30s", Some(90.0)),
            ("2 min 5 sec", Some(125.0)),
            ("12", Some(12.0)),
            ("00:25,50", Some(25.5)),
            ("-3", None),
            ("soon", None),
            ("", None),
            ("1:2:3:4", None),
            ("1e5", None),
        ] {
            assert_eq!(of_text(text), expected, "{text:?}");
        }
    }

    #[test]
    fn all_ways_to_write_a_range() {
        for text in [
            "00:25.00 - 00:46.00",
            "00:25-00:46",
            "25 to 46",
            "25s–46s",
            "from 25 to 46",
            "<25 seconds> - <46 seconds>",
            "00:25~00:46",
            "[25 - 46]",
        ] {
            assert_eq!(range(text), Some((25.0, 46.0)), "{text:?}");
        }
        assert_eq!(range("00:25"), Some((25.0, 25.0)));
        assert_eq!(range("a - b"), None);
    }
}
