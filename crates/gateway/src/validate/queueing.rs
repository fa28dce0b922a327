//! Validates the fields for queueing: priority, start, expiry, retention, time limit, retries and metadata.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::{Lane, Task, Timestamp};
use queue::Start;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::fields::Fields;
use super::{Limits, echo, type_name};
use crate::order::Queueing;

/// Maximum distance of a start or an expiry from now, in seconds: 30 days.
pub(crate) const MAX_AHEAD_S: u32 = 30 * 86_400;
/// Maximum number of metadata entries.
pub(crate) const MAX_METADATA: usize = 16;
/// Maximum length of a metadata name, in characters.
pub(crate) const MAX_METADATA_NAME: usize = 64;
/// Maximum length of a metadata value, in characters.
pub(crate) const MAX_METADATA_VALUE: usize = 512;

/// The fields that this module reads.
pub(super) const KNOWN: [&str; 9] = [
    "priority",
    "delay_s",
    "run_at",
    "expires_in_s",
    "metadata",
    "result_ttl_s",
    "time_limit_s",
    "max_attempts",
    "retry_backoff_s",
];

/// Reads the fields, and records problems in `fields`.
pub(super) fn read(fields: &mut Fields<'_>, limits: &Limits<'_>) -> Queueing {
    let start = start(fields, limits.now);
    let expires_in = fields.integer("expires_in_s", 1..=u64::from(MAX_AHEAD_S));
    let expires_in = expires_in.map(Duration::from_secs);
    let delay = match start {
        Start::Now => Duration::ZERO,
        Start::After(delay) => delay,
        Start::At(at) => Duration::from_secs_f64(at.seconds_since(limits.now).max(0.0)),
    };
    if expires_in.is_some_and(|expires_in| expires_in <= delay) {
        let message = "the task would expire before it may start: \
                       it counts from now, so it must be more than delay_s, and end after run_at";
        fields.problem("expires_in_s", "greater_than", message);
    }
    let mut within = |name, least: u64, most: u32| {
        let given = fields.integer(name, least..=u64::from(most));
        given.and_then(|given| u32::try_from(given).ok())
    };
    let mut capped = |name, most| within(name, 1, most).unwrap_or(most);
    Queueing {
        result_ttl_s: capped("result_ttl_s", limits.max_result_ttl_s),
        time_limit_s: capped("time_limit_s", limits.max_time_limit_s),
        max_attempts: capped("max_attempts", limits.max_attempts),
        retry_backoff_s: within("retry_backoff_s", 0, Task::MAX_RETRY_BACKOFF_S),
        lane: lane(fields),
        start,
        expires_in,
        metadata: metadata(fields),
        step: None,
    }
}

fn lane(fields: &mut Fields<'_>) -> Option<Lane> {
    let value = fields.get("priority")?;
    let name = fields.text("priority", value)?;
    let lane = Lane::ALL.into_iter().find(|lane| lane.as_str() == name);
    if lane.is_none() {
        let allowed = Lane::ALL.map(Lane::as_str).join(", ");
        let message = format!("must be one of {allowed}, got '{}'", echo(name));
        fields.problem("priority", "enum", message);
    }
    lane
}

fn start(fields: &mut Fields<'_>, now: Timestamp) -> Start {
    let delay = fields.number(
        "delay_s",
        || "from 0 to 2592000 (30 days)".to_owned(),
        |seconds| match seconds {
            x if x < 0.0 => Err("greater_than_equal"),
            x if x > f64::from(MAX_AHEAD_S) => Err("less_than_equal"),
            _ => Ok(()),
        },
    );
    let at = run_at(fields, now);
    match (delay, at) {
        (Some(_), Some(_)) => {
            let message = "give either run_at or delay_s, not both";
            fields.problem("run_at", "value_error", message);
            Start::Now
        }
        (Some(seconds), None) if seconds > 0.0 => Start::After(Duration::from_secs_f64(seconds)),
        (None, Some(at)) => Start::At(at),
        (Some(_) | None, None) => Start::Now,
    }
}

/// Reads a start time; one in the past means now.
fn run_at(fields: &mut Fields<'_>, now: Timestamp) -> Option<Timestamp> {
    let value = fields.get("run_at")?;
    let expected = "an instant such as \"2025-11-21T15:30:00Z\" (RFC 3339) or seconds since 1970";
    let millis = match value {
        Value::String(text) => OffsetDateTime::parse(text, &Rfc3339)
            .ok()
            .map(|at| (at.unix_timestamp_nanos() / 1_000_000) as f64),
        Value::Number(seconds) => seconds.as_f64().map(|seconds| seconds * 1e3),
        other => {
            let message = format!("expected {expected}, got {}", type_name(other));
            fields.problem("run_at", "datetime_type", message);
            return None;
        }
    };
    let Some(millis) = millis.filter(|millis| millis.is_finite()) else {
        let message = format!("expected {expected}, got '{}'", echo(&value.to_string()));
        fields.problem("run_at", "datetime_parsing", message);
        return None;
    };
    let latest = now.as_millis() as f64 + f64::from(MAX_AHEAD_S) * 1e3;
    if millis > latest {
        let message = "must lie within the next 30 days (a number is in seconds since 1970)";
        fields.problem("run_at", "less_than_equal", message);
        return None;
    }
    // Exact: milliseconds of this millennium fit into 53 bits.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Some(Timestamp::from_millis(millis.max(0.0) as u64))
}

pub(super) fn metadata(fields: &mut Fields<'_>) -> BTreeMap<String, String> {
    let mut notes = BTreeMap::new();
    let Some(value) = fields.get("metadata") else { return notes };
    let Value::Object(map) = value else {
        let message = format!("expected an object of strings, got {}", type_name(value));
        fields.problem("metadata", "dict_type", message);
        return notes;
    };
    if map.len() > MAX_METADATA {
        let message = format!("must have at most {MAX_METADATA} entries, has {}", map.len());
        fields.problem("metadata", "too_long", message);
        return notes;
    }
    for (name, value) in map {
        let shown = echo(name);
        let Some(text) = value.as_str() else {
            let message = format!("'{shown}' must be a string, got {}", type_name(value));
            fields.problem("metadata", "string_type", message);
            continue;
        };
        let (name_length, length) = (name.chars().count(), text.chars().count());
        if name_length == 0 || name_length > MAX_METADATA_NAME {
            let message = format!(
                "a name must have 1 to {MAX_METADATA_NAME} characters, '{shown}' has {name_length}"
            );
            fields.problem("metadata", "string_too_long", message);
        }
        if length > MAX_METADATA_VALUE {
            let message = format!(
                "'{shown}' must have at most {MAX_METADATA_VALUE} characters, has {length}"
            );
            fields.problem("metadata", "string_too_long", message);
        }
        notes.insert(name.clone(), text.to_owned());
    }
    notes
}

#[cfg(test)]
mod tests;
