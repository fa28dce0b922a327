//! How values are shown to people: times, sizes, and text from outside that must not steer a terminal.

use std::fmt::Write;

/// `text` without anything that a terminal obeys: control characters, line ends of all kinds and
/// marks that turn the direction of writing are shown as escapes.
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

/// `text` with the same characters escaped, but for ends of lines and tabs: for text of many lines.
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

/// `json` with the same characters escaped as JSON has it: they can stand only inside of its strings.
pub(crate) fn printable_json(json: &str) -> String {
    // In JSON itself tabs and line ends are escaped already: those left are its layout.
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

/// `\uXXXX`; all that is escaped lies in the first plane.
fn escape(character: char, into: &mut String) {
    // Writing to a String can't fail.
    let _ = write!(into, "\\u{:04x}", u32::from(character));
}

/// A span in seconds, in two units at most: `0.45s`, `12.3s`, `4m05s`, `3h20m`, `2d04h`.
pub(crate) fn span(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{:.2}s", seconds.max(0.0));
    }
    if seconds < 60.0 {
        return format!("{seconds:.1}s");
    }
    // A span that a clock can't have overflows nothing: the conversion saturates.
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

/// The span between two instants in milliseconds; a dash when one is not known.
pub(crate) fn between(from_ms: Option<u64>, to_ms: u64) -> String {
    from_ms.map_or_else(dash, |from| span(to_ms.saturating_sub(from) as f64 / 1_000.0))
}

/// Bytes in the unit that suits them.
pub(crate) fn bytes(count: u64) -> String {
    let scaled = count as f64;
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} kB", scaled / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", scaled / 1e6),
        _ => format!("{:.1} GB", scaled / 1e9),
    }
}

/// `1 task`, `2 tasks`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// The instant of so many milliseconds since 1970, in UTC: `2025-11-21 15:30:45`.
pub(crate) fn instant(millis: u64) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    i64::try_from(millis / 1_000)
        .ok()
        .and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|at| at.format(format).ok())
        .unwrap_or_else(dash)
}

/// What stands where nothing is known.
pub(crate) fn dash() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_steers_a_terminal() {
        let evil = "a\u{1b}[2Jb\u{7}\u{9b}31m\r\n\u{202e}c\u{7f}";
        let shown = printable(evil);
        assert_eq!(shown, "a\\u001b[2Jb\\u0007\\u009b31m\\r\\n\\u202ec\\u007f");
        let json = printable_json(&serde_json::to_string(evil).unwrap());
        assert!(!json.chars().any(is_unsafe), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), evil, "and nothing is lost");
        assert_eq!(printable("Grüße, 你好"), "Grüße, 你好");
    }

    #[test]
    fn spans_have_two_units_at_most() {
        let spans = [0.0, 0.449, 12.34, 65.0, 12_000.0, 187_200.0].map(span);
        assert_eq!(spans, ["0.00s", "0.45s", "12.3s", "1m05s", "3h20m", "2d04h"]);
        assert_eq!(between(Some(9_000), 4_000), "0.00s", "clocks differ");
        assert_eq!(between(None, 4_000), "-");
    }

    #[test]
    fn sizes_and_instants() {
        assert_eq!(
            [0, 1_500, 2_340_000, 5_000_000_000].map(bytes).join(" "),
            "0 B 1.5 kB 2.3 MB 5.0 GB"
        );
        assert_eq!(instant(1_763_739_045_123), "2025-11-21 15:30:45");
        assert_eq!(instant(u64::MAX), "-");
    }
}
