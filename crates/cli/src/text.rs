//! Formats values for people: times, sizes, and untrusted text without terminal control sequences.

use std::fmt::Write;

/// Escapes everything in `text` that a terminal interprets: control characters, all kinds of line ends, and
/// marks that change the direction of writing. For text on one line.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if is_unsafe(c) => escape(c, &mut shown),
            c => shown.push(c),
        }
    }
    shown
}

/// Escapes the same characters in `text` except `\n` and tabs. For text of several lines.
pub(crate) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            c if is_unsafe(c) => escape(c, &mut shown),
            c => shown.push(c),
        }
    }
    shown
}

/// Escapes the same characters in `json`. They occur only inside its strings, so the result is equivalent
/// JSON.
pub(crate) fn printable_json(json: &str) -> String {
    // Inside strings JSON escapes tabs and line ends itself. The remaining ones are layout.
    harmless(json)
}

fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{061c}'
                | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Appends `\uXXXX`. All escaped characters are in the basic multilingual plane, so four digits suffice.
fn escape(character: char, into: &mut String) {
    // Writing to a String can't fail.
    let _ = write!(into, "\\u{:04x}", u32::from(character));
}

/// Formats a span in seconds with at most two units: `0.45s`, `12.3s`, `4m05s`, `3h20m`, `2d04h`.
pub(crate) fn span(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{:.2}s", seconds.max(0.0));
    }
    if seconds < 60.0 {
        return format!("{seconds:.1}s");
    }
    // The conversion saturates, so no span overflows.
    let whole = seconds as u64;
    let (minutes, hours, days) = (whole / 60, whole / 3_600, whole / 86_400);
    if hours == 0 {
        format!("{minutes}m{:02}s", whole % 60)
    } else if days == 0 {
        format!("{hours}h{:02}m", minutes % 60)
    } else {
        format!("{days}d{:02}h", hours % 24)
    }
}

/// Formats the span between two instants in milliseconds, or a dash if the first is unknown.
pub(crate) fn between(from_ms: Option<u64>, to_ms: u64) -> String {
    from_ms.map_or_else(dash, |from| span(to_ms.saturating_sub(from) as f64 / 1_000.0))
}

/// Formats a number of bytes in the largest decimal unit that is not above it, at most GB.
pub(crate) fn bytes(count: u64) -> String {
    let scaled = count as f64;
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} kB", scaled / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", scaled / 1e6),
        _ => format!("{:.1} GB", scaled / 1e9),
    }
}

/// Formats a number with its noun: `1 task`, `2 tasks`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Formats an instant in milliseconds since 1970 as UTC, `2025-11-21 15:30:45`, or a dash if it is out of
/// range.
pub(crate) fn instant(millis: u64) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    i64::try_from(millis / 1_000)
        .ok()
        .and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|at| at.format(format).ok())
        .unwrap_or_else(dash)
}

/// Returns the text for an unknown value.
pub(crate) fn dash() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_in_untrusted_text_are_escaped() {
        let evil = "a\u{1b}[2Jb\u{7}\u{9b}31m\r\n\u{202e}c\u{7f}";
        let shown = printable(evil);
        assert_eq!(shown, "a\\u001b[2Jb\\u0007\\u009b31m\\r\\n\\u202ec\\u007f");
        let json = printable_json(&serde_json::to_string(evil).unwrap());
        assert!(!json.chars().any(is_unsafe), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), evil, "nothing is lost");
        assert_eq!(printable("Grüße, 你好"), "Grüße, 你好");
    }

    #[test]
    fn durations_have_at_most_two_units() {
        let spans = [0.0, 0.449, 12.34, 65.0, 12_000.0, 187_200.0].map(span);
        assert_eq!(spans, ["0.00s", "0.45s", "12.3s", "1m05s", "3h20m", "2d04h"]);
        assert_eq!(between(Some(9_000), 4_000), "0.00s", "clocks differ");
        assert_eq!(between(None, 4_000), "-");
    }

    #[test]
    fn sizes_and_timestamps_are_formatted() {
        assert_eq!(
            [0, 1_500, 2_340_000, 5_000_000_000].map(bytes).join(" "),
            "0 B 1.5 kB 2.3 MB 5.0 GB"
        );
        assert_eq!(instant(1_763_739_045_123), "2025-11-21 15:30:45");
        assert_eq!(instant(u64::MAX), "-");
    }
}
