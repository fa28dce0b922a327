//! Functions for chat templates beyond Jinja's own: those that `transformers` adds, and the methods of
//! Python's strings, lists and dicts.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::value::{Kwargs, from_args};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat;

use super::python::{self, JsonStyle};

/// The message that a template passed to `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct TemplateException(pub(super) String);

pub(super) fn install(environment: &mut Environment<'static>) {
    environment.set_unknown_method_callback(method);
    environment.set_formatter(|out, _, value| match value.as_str() {
        Some(text) => Ok(out.write_str(text)?),
        None => Ok(out.write_str(&python::str(value))?),
    });
    environment.add_filter("string", |value: &Value| python::str(value));
    environment.add_filter("tojson", to_json);
    environment.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        let error = Error::new(ErrorKind::InvalidOperation, message.clone());
        Err(error.with_source(TemplateException(message)))
    });
    environment.add_function("strftime_now", |format: &str| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        strftime(format, now.as_secs())
    });
}

/// Adapts the source to minijinja: Jinja2 reads every line end as `\n`, and `transformers` adds a tag.
pub(super) fn prepare(source: &str) -> String {
    without_generation_tags(&source.replace("\r\n", "\n").replace('\r', "\n"))
}

/// Replaces `{% generation %}`, which only marks the assistant's tokens for training, with a block that is
/// always taken, since that keeps its whitespace rules.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let end = tag.find("%}").map_or(tag.len(), |end| end + 2);
        let (tag, after) = tag.split_at(end);
        let name =
            tag.trim_start_matches(['{', '%', '-', '+']).trim_end_matches(['}', '%', '-', '+']);
        match name.trim() {
            word @ "generation" => out.push_str(&tag.replacen(word, "if true", 1)),
            word @ "endgeneration" => out.push_str(&tag.replacen(word, "endif", 1)),
            _ => out.push_str(tag),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Implements `value | tojson(indent=…, separators=…, sort_keys=…, ensure_ascii=…)`.
fn to_json(value: &Value, indent: Option<usize>, options: Kwargs) -> Result<String, Error> {
    let indent = match indent {
        Some(indent) => Some(indent),
        None => options.get::<Option<usize>>("indent")?,
    };
    let mut style = JsonStyle::new(indent);
    if let Some(separators) = options.get::<Option<Vec<String>>>("separators")? {
        if let Ok([item, key]) = <[String; 2]>::try_from(separators) {
            style.item_separator = item;
            style.key_separator = key;
        } else {
            return Err(Error::new(ErrorKind::InvalidOperation, "separators must be two texts"));
        }
    }
    style.sort_keys = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    style.ensure_ascii = options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    options.assert_all_used()?;
    python::json(value, &style)
}

/// Calls a method of Python: one that minijinja-contrib lacks, or one that it provides.
fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    match (value.as_str(), name) {
        (Some(text), "removeprefix") => {
            let (prefix,): (&str,) = from_args(args)?;
            Ok(Value::from(text.strip_prefix(prefix).unwrap_or(text)))
        }
        (Some(text), "removesuffix") => {
            let (suffix,): (&str,) = from_args(args)?;
            Ok(Value::from(text.strip_suffix(suffix).unwrap_or(text)))
        }
        _ => pycompat::unknown_method_callback(state, value, name, args),
    }
}

const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Formats a UTC time like `strftime`, for the fields that chat templates use; others are copied.
fn strftime(format: &str, seconds: u64) -> String {
    let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) =
        (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    let weekday = DAYS[((days + 4) % 7) as usize]; // 1970-01-01 was a Thursday
    let month_name = MONTHS[month as usize - 1];
    let hour_12 = (hour + 11) % 12 + 1;

    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(char) = chars.next() {
        if char != '%' {
            out.push(char);
            continue;
        }
        let mut field = chars.next();
        let padded = field != Some('-');
        if !padded {
            field = chars.next();
        }
        let mut two = |number: u64| match padded {
            true => write!(out, "{number:02}"),
            false => write!(out, "{number}"),
        };
        // Writing to a String cannot fail.
        let _ = match field {
            Some('d') => two(day),
            Some('m') => two(month),
            Some('y') => two(year % 100),
            Some('H') => two(hour),
            Some('I') => two(hour_12),
            Some('M') => two(minute),
            Some('S') => two(second),
            Some('Y') => write!(out, "{year}"),
            Some('F') => write!(out, "{year}-{month:02}-{day:02}"),
            Some('T') => write!(out, "{hour:02}:{minute:02}:{second:02}"),
            Some('p') => write!(out, "{}", if hour < 12 { "AM" } else { "PM" }),
            Some('A') => write!(out, "{weekday}"),
            Some('a') => write!(out, "{}", &weekday[..3]),
            Some('B') => write!(out, "{month_name}"),
            Some('b') => write!(out, "{}", &month_name[..3]),
            Some('Z') => write!(out, "UTC"),
            Some('%') => write!(out, "%"),
            Some(other) => write!(out, "%{}{other}", if padded { "" } else { "-" }),
            None => write!(out, "%"),
        };
    }
    out
}

/// Converts a count of days since 1970-01-01 to year, month and day of the Gregorian calendar
/// (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Expected texts are what CPython prints for these times in UTC.
    #[test]
    fn strftime_formats_times_like_python() {
        let format = "%Y-%m-%d %H:%M:%S|%d %b %Y|%A, %B %-d|%I:%M %p|%a %y|%%|%j";
        assert_eq!(
            strftime(format, 1_709_210_096), // a leap day
            "2024-02-29 12:34:56|29 Feb 2024|Thursday, February 29|12:34 PM|Thu 24|%|%j"
        );
        assert_eq!(
            strftime(format, 0),
            "1970-01-01 00:00:00|01 Jan 1970|Thursday, January 1|12:00 AM|Thu 70|%|%j"
        );
        assert_eq!(strftime("%F %T%", 4_102_444_799), "2099-12-31 23:59:59%");
    }

    #[test]
    fn generation_tags_become_plain_blocks() {
        assert_eq!(
            without_generation_tags("a{% generation %}b{%- endgeneration -%} c{% if generation %}"),
            "a{% if true %}b{%- endif -%} c{% if generation %}"
        );
        assert_eq!(without_generation_tags("{% open"), "{% open");
    }
}
