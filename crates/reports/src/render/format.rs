//! Formats figures for people.

/// Formats a span in seconds with at most two units: `0.45s`, `12.3s`, `4m05s`, `3h20m`, `2d04h`.
pub(crate) fn span(seconds: f64) -> String {
    if seconds < 9.995 {
        return format!("{seconds:.2}s");
    }
    if seconds < 59.95 {
        return format!("{seconds:.1}s");
    }
    // The conversion saturates, so no span overflows.
    let whole = seconds.round() as u64;
    let (minutes, hours, days) = (whole / 60, whole / 3_600, whole / 86_400);
    if hours == 0 {
        format!("{minutes}m{:02}s", whole % 60)
    } else if days == 0 {
        format!("{hours}h{:02}m", minutes % 60)
    } else {
        format!("{days}d{:02}h", hours % 24)
    }
}

/// Formats a whole number with commas between thousands.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// Formats a number with its noun: `1 task`, `2,000 tasks`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", thousands(number), if number == 1 { "" } else { "s" })
}

/// Formats a part as a share of the whole: `98.0 %`.
pub(crate) fn share(part: u64, whole: u64) -> String {
    format!("{:.1} %", part as f64 * 100.0 / whole.max(1) as f64)
}

/// Formats the length of a period: `hour`, `6 hours`, `day`, `7 days`.
pub(crate) fn period(seconds: i64) -> String {
    match seconds / 3_600 {
        1 => "hour".to_owned(),
        hours @ ..24 => format!("{hours} hours"),
        24 => "day".to_owned(),
        hours => format!("{} days", hours / 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_formatted() {
        let spans = [0.0, 9.99, 9.996, 12.34, 59.97, 65.0, 12_000.0, 187_200.0].map(span);
        let expected = ["0.00s", "9.99s", "10.0s", "12.3s", "1m00s", "1m05s", "3h20m", "2d04h"];
        assert_eq!(spans, expected);
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([count(1, "task"), count(2_000, "task")], ["1 task", "2,000 tasks"]);
        assert_eq!([share(1, 3), share(0, 0)], ["33.3 %", "0.0 %"]);
        let periods = [1, 6, 24, 168].map(|hours| period(hours * 3_600));
        assert_eq!(periods, ["hour", "6 hours", "day", "7 days"]);
    }
}
