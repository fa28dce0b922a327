//! Formats managed keys for people.

use std::fmt::Write;

use protocol::{ApiKey, KeyLimits, Scope, Timestamp};

use crate::table::{Align, Column};
use crate::text::{instant, printable};

/// The columns of a list.
pub(super) const COLUMNS: [Column; 8] = [
    ("key", Align::Left),
    ("name", Align::Left),
    ("owner", Align::Left),
    ("state", Align::Left),
    ("scopes", Align::Left),
    ("last used (UTC)", Align::Left),
    ("expires (UTC)", Align::Left),
    ("limits", Align::Left),
];

/// Returns the cells of a key.
pub(super) fn row(key: &ApiKey) -> [String; COLUMNS.len()] {
    [
        printable(key.id.as_str()),
        printable(&key.name),
        printable(key.owner.as_str()),
        state(key).to_owned(),
        scopes(key),
        time(key.last_used_at, ""),
        time(key.expires_at, ""),
        limits(&key.limits, ", "),
    ]
}

/// Formats one key on several lines.
pub(super) fn page(key: &ApiKey) -> String {
    let models: Vec<_> = key.models.iter().map(|model| printable(model.as_str())).collect();
    let models = if models.is_empty() { "all".to_owned() } else { models.join(", ") };
    let mut page = String::new();
    for (name, value) in [
        ("key", printable(key.id.as_str())),
        ("name", printable(&key.name)),
        ("text", format!("{}…", printable(&key.prefix))),
        ("owner", printable(key.owner.as_str())),
        ("state", state(key).to_owned()),
        ("scopes", scopes(key)),
        ("models", models),
        ("highest lane", key.highest_lane.as_str().to_owned()),
        ("limits", limits(&key.limits, "\n              ")),
        ("created", format!("{} UTC", instant(key.created_at.as_millis()))),
        ("expires", time(key.expires_at, " UTC")),
        ("last used", time(key.last_used_at, " UTC")),
    ] {
        // Writing to a `String` cannot fail.
        let _ = writeln!(page, "{name:<12}  {value}");
    }
    for (name, value) in &key.metadata {
        let _ = writeln!(page, "{:<12}  {}={}", "metadata", printable(name), printable(value));
    }
    page
}

/// Returns whether the key is accepted, by this machine's clock.
fn state(key: &ApiKey) -> &'static str {
    match key.expires_at {
        _ if key.blocked => "blocked",
        Some(at) if at <= Timestamp::now() => "expired",
        _ => "active",
    }
}

fn scopes(key: &ApiKey) -> String {
    let name = |scope: &Scope| match scope {
        Scope::Submit => "submit",
        Scope::Read => "read",
        Scope::Admin => "admin",
    };
    key.scopes.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn time(at: Option<Timestamp>, zone: &str) -> String {
    at.map_or_else(|| "never".to_owned(), |at| format!("{}{zone}", instant(at.as_millis())))
}

fn limits(limits: &KeyLimits, separator: &str) -> String {
    // Names every field, so that none is forgotten.
    let KeyLimits {
        requests_per_minute,
        tokens_per_minute,
        max_in_flight,
        tokens_per_day,
        batch_tokens_per_day,
    } = *limits;
    let set: Vec<_> = [
        (requests_per_minute, "requests/min"),
        (tokens_per_minute, "tokens/min"),
        (max_in_flight, "in flight"),
        (tokens_per_day, "tokens/day"),
        (batch_tokens_per_day, "batch tokens/day"),
    ]
    .into_iter()
    .filter_map(|(limit, unit)| limit.map(|limit| format!("{limit} {unit}")))
    .collect();
    if set.is_empty() { "none".to_owned() } else { set.join(separator) }
}
