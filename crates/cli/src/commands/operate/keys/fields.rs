//! The fields of a key that options set.

use clap::Args;
use serde_json::{Map, Value, json};
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

/// The options for a key's rights and limits. Those that are not given are not sent.
#[derive(Debug, Default, Args)]
pub(super) struct Rights {
    /// What it may do: `submit` (which includes `read`), `read` or `admin`; may be repeated, or separated by commas.
    #[arg(long = "scope", value_delimiter = ',', value_parser = ["submit", "read", "admin"])]
    scopes: Vec<String>,
    /// A model that it may use; may be repeated. Without it, all.
    #[arg(long = "model")]
    models: Vec<String>,
    /// Tasks that it may submit per minute, or `none`.
    #[arg(long, value_name = "N", value_parser = limit)]
    requests_per_minute: Option<Limit>,
    /// Tokens per minute, of prompts and generated, or `none`.
    #[arg(long, value_name = "N", value_parser = limit)]
    tokens_per_minute: Option<Limit>,
    /// Tasks that may wait or run at once, or `none`.
    #[arg(long, value_name = "N", value_parser = limit)]
    max_in_flight: Option<Limit>,
    /// Tokens per day (UTC), without those of batches, or `none`.
    #[arg(long, value_name = "N", value_parser = limit)]
    tokens_per_day: Option<Limit>,
    /// Tokens of batches per day (UTC), or `none`.
    #[arg(long, value_name = "N", value_parser = limit)]
    batch_tokens_per_day: Option<Limit>,
    /// The most urgent lane that its tasks may have.
    #[arg(long, value_name = "LANE", value_parser = ["high", "normal", "low", "batch"])]
    highest_lane: Option<String>,
    /// How long it is accepted from now on: `90m`, `12h`, `30d`.
    #[arg(long, value_name = "SPAN", value_parser = expires_in, conflicts_with = "expires_at")]
    expires_in: Option<Limit>,
    /// From when on it is refused: `2027-01-01` (UTC), `2027-01-01T12:00:00+02:00`, or `none`.
    #[arg(long, value_name = "TIME", value_parser = expires_at)]
    expires_at: Option<Limit>,
    /// A note; may be repeated. On an update, all notes are replaced.
    #[arg(long, value_name = "NAME=VALUE", value_parser = note)]
    metadata: Vec<(String, String)>,
}

/// A limit: a number, or `None` to have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit(Option<u64>);

impl Rights {
    /// Returns the fields of a request's body; null for a limit that is to be removed.
    pub(super) fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            fields.extend(value.map(|value| (name.to_owned(), value)));
        };
        set("scopes", (!self.scopes.is_empty()).then(|| json!(self.scopes)));
        set("models", (!self.models.is_empty()).then(|| json!(self.models)));
        for (name, limit) in [
            ("requests_per_minute", self.requests_per_minute),
            ("tokens_per_minute", self.tokens_per_minute),
            ("max_in_flight", self.max_in_flight),
            ("tokens_per_day", self.tokens_per_day),
            ("batch_tokens_per_day", self.batch_tokens_per_day),
            ("expires_at", self.expires_in.or(self.expires_at)),
        ] {
            set(name, limit.map(|Limit(limit)| json!(limit)));
        }
        set("highest_lane", self.highest_lane.as_ref().map(|lane| json!(lane)));
        let notes: Map<_, _> =
            self.metadata.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        set("metadata", (!notes.is_empty()).then_some(Value::Object(notes)));
        fields
    }
}

/// Checks the form of a key's id, which becomes a part of the path.
pub(super) fn key_id(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if text.starts_with("qq-") {
        return Err("expected the key's id (key_…), not its text".to_owned());
    }
    if text.is_empty() || !text.chars().all(fits) {
        return Err("expected an id such as key_0192f0c123457abc8def0123456789ab".to_owned());
    }
    Ok(text.to_owned())
}

fn limit(text: &str) -> Result<Limit, String> {
    if text == "none" {
        return Ok(Limit(None));
    }
    let number = text.replace('_', "").parse().ok().filter(|number| *number > 0);
    number
        .map(|number| Limit(Some(number)))
        .ok_or_else(|| "expected a number of at least 1, or none".to_owned())
}

fn expires_in(text: &str) -> Result<Limit, String> {
    let wrong = || "expected a span such as 90m, 12h or 30d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let span = std::time::Duration::from_secs(u64::from(number) * seconds);
    if span.is_zero() {
        return Err(wrong());
    }
    Ok(Limit(Some((protocol::Timestamp::now() + span).as_millis())))
}

fn expires_at(text: &str) -> Result<Limit, String> {
    const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
    if text == "none" {
        return Ok(Limit(None));
    }
    let day = || Date::parse(text, DAY).ok().map(|day| day.midnight().assume_utc());
    let at = OffsetDateTime::parse(text, &Rfc3339).ok().or_else(day);
    at.and_then(|at| u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok())
        .map(|millis| Limit(Some(millis)))
        .ok_or_else(|| "expected 2027-01-01, 2027-01-01T12:00:00Z, or none".to_owned())
}

fn note(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').unwrap_or_default();
    if name.is_empty() {
        return Err("expected NAME=VALUE".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_times_are_parsed() {
        assert_eq!(limit("1_000"), Ok(Limit(Some(1_000))));
        assert_eq!(limit("none"), Ok(Limit(None)));
        for wrong in ["", "0", "-1", "1.5", "many", "None"] {
            assert!(limit(wrong).is_err(), "{wrong}");
        }
        for (text, at) in [
            ("2027-01-01", 1_798_761_600_000),
            ("2027-01-01T00:00:00Z", 1_798_761_600_000),
            ("2027-01-01T02:00:00.5+02:00", 1_798_761_600_500),
        ] {
            assert_eq!(expires_at(text), Ok(Limit(Some(at))), "{text}");
        }
        assert_eq!(expires_at("none"), Ok(Limit(None)));
        for wrong in ["", "2027", "2027-13-01", "tomorrow", "1798761600000"] {
            assert!(expires_at(wrong).is_err(), "{wrong}");
        }
        let now = protocol::Timestamp::now().as_millis();
        let Ok(Limit(Some(at))) = expires_in("30d") else { panic!() };
        assert!((at - now).abs_diff(30 * 86_400_000) < 10_000);
        for wrong in ["", "d", "0d", "30", "1w", "-1d", "1.5h", "1ü"] {
            assert!(expires_in(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_id_is_not_a_path_and_not_a_text() {
        assert!(key_id("key_0192-ab").is_ok());
        for wrong in ["", "a/b", "..", "a b", "ä", "a?b"] {
            assert!(key_id(wrong).is_err(), "{wrong}");
        }
        assert!(key_id("qq-secret").unwrap_err().contains("not its text"));
    }

    #[test]
    fn a_note_has_a_name() {
        assert_eq!(note("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(note("a="), Ok(("a".to_owned(), String::new())));
        assert!(note("=b").is_err() && note("a").is_err());
    }
}
