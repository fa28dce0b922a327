//! Validates the fields of a managed key.

use std::collections::BTreeSet;

use protocol::{ApiKey, KeyId, KeyLimits, Lane, ModelId, Scope, TenantId, Timestamp};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::fields::Fields;
use super::queueing::metadata;
use super::{FieldError, echo, type_name};
use crate::owner;

/// Maximum length of a key's name, in characters.
const MAX_NAME: usize = 128;
/// Maximum number of models of a key.
const MAX_MODELS: usize = 256;
/// Maximum length of a model name, in bytes.
const MAX_MODEL_NAME: usize = 1024;
/// Maximum of a limit. JavaScript reads it exactly.
const MAX_LIMIT: u64 = 1_000_000_000_000_000;

/// The fields of a new key.
const NEW: [&str; 12] = [
    "name",
    "owner",
    "scopes",
    "models",
    "requests_per_minute",
    "tokens_per_minute",
    "max_in_flight",
    "tokens_per_day",
    "batch_tokens_per_day",
    "highest_lane",
    "expires_at",
    "metadata",
];

/// Reads a new key. Its prefix and the time of its creation are set by others.
pub(crate) fn new(body: &Value, now: Timestamp) -> Result<ApiKey, Vec<FieldError>> {
    let mut fields = Fields::new(body, &NEW)?;
    let id = KeyId::new();
    let mut key = ApiKey {
        prefix: String::new(),
        name: String::new(),
        owner: TenantId::new(id.as_str()),
        scopes: BTreeSet::from([Scope::Submit]),
        models: BTreeSet::new(),
        limits: KeyLimits::default(),
        highest_lane: Lane::High,
        expires_at: None,
        blocked: false,
        created_at: now,
        last_used_at: None,
        metadata: std::collections::BTreeMap::new(),
        id,
    };
    fields.required("name", "a name for people");
    if let Some(owner) = read_owner(&mut fields) {
        key.owner = owner;
    }
    read(&mut fields, body, &mut key, now);
    fields.finish(Some(key))
}

/// Reads the changes of a key: absent fields are kept, and `null` clears.
pub(crate) fn change(
    body: &Value,
    key: &mut ApiKey,
    now: Timestamp,
) -> Result<(), Vec<FieldError>> {
    let mut known: Vec<&str> = NEW.to_vec();
    known.push("blocked");
    let mut fields = Fields::new(body, &known)?;
    if fields.get("owner").is_some_and(|owner| owner.as_str() != Some(key.owner.as_str())) {
        let message = "the owner of a key can't be changed: create another key";
        fields.problem("owner", "value_error", message);
    }
    for name in ["name", "blocked", "scopes"] {
        if body.get(name).is_some_and(Value::is_null) {
            fields.problem(name, "missing", "can't be null: leave it out to keep it");
        }
    }
    if let Some(blocked) = fields.boolean("blocked") {
        key.blocked = blocked;
    }
    read(&mut fields, body, key, now);
    fields.finish(Some(()))
}

/// Reads the fields that can be set at any time.
fn read(fields: &mut Fields<'_>, body: &Value, key: &mut ApiKey, now: Timestamp) {
    let is_given = |name: &str| body.get(name).is_some();
    if let Some(name) = fields.short_text("name", MAX_NAME) {
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            let message = "must be 1 to 128 characters without control characters";
            fields.problem("name", "value_error", message);
        }
        key.name = name;
    }
    if let Some(scopes) = read_scopes(fields) {
        key.scopes = scopes;
    }
    if is_given("models") {
        let models = strings(fields, "models", MAX_MODELS, MAX_MODEL_NAME);
        key.models = models.into_iter().map(ModelId::new).collect();
    }
    let limits = &mut key.limits;
    for (name, limit) in [
        ("requests_per_minute", &mut limits.requests_per_minute),
        ("tokens_per_minute", &mut limits.tokens_per_minute),
        ("max_in_flight", &mut limits.max_in_flight),
        ("tokens_per_day", &mut limits.tokens_per_day),
        ("batch_tokens_per_day", &mut limits.batch_tokens_per_day),
    ] {
        if is_given(name) {
            *limit = fields.integer(name, 1..=MAX_LIMIT);
        }
    }
    if is_given("highest_lane") {
        key.highest_lane = read_lane(fields);
    }
    if is_given("expires_at") {
        key.expires_at = read_expiry(fields, now);
    }
    if is_given("metadata") {
        key.metadata = metadata(fields);
    }
}

fn read_owner(fields: &mut Fields<'_>) -> Option<TenantId> {
    let value = fields.get("owner")?;
    let text = fields.text("owner", value)?;
    if !owner::is_plain(text) {
        let most = owner::MAX_LENGTH;
        let message = format!(
            "must be 1 to {most} letters, digits or '.', '_', '@', '-', is '{}'",
            echo(text)
        );
        fields.problem("owner", "value_error", message);
    }
    Some(TenantId::new(text))
}

fn read_scopes(fields: &mut Fields<'_>) -> Option<BTreeSet<Scope>> {
    fields.get("scopes")?;
    let known = [("submit", Scope::Submit), ("read", Scope::Read), ("admin", Scope::Admin)];
    let mut scopes = BTreeSet::new();
    let names = strings(fields, "scopes", 16, 64);
    for (index, name) in names.iter().enumerate() {
        match known.iter().find(|(known, _)| known == name) {
            Some((_, scope)) => {
                scopes.insert(*scope);
            }
            None => {
                let message = format!("must be one of submit, read, admin, got '{}'", echo(name));
                fields.problem_at("scopes", index, "enum", message);
            }
        }
    }
    if names.is_empty() {
        let message = "must have at least one of submit, read, admin: to refuse the key, block it";
        fields.problem("scopes", "too_short", message);
    }
    Some(scopes)
}

/// Reads a list of texts that are not empty.
fn strings(fields: &mut Fields<'_>, name: &str, most: usize, most_bytes: usize) -> Vec<String> {
    match fields.get(name) {
        None | Some(Value::Array(_)) => {}
        Some(other) => {
            let message = format!("expected an array of strings, got {}", type_name(other));
            fields.problem(name, "list_type", message);
            return Vec::new();
        }
    }
    let texts = fields.texts(name, most, most_bytes);
    if let Some(index) = texts.iter().position(String::is_empty) {
        fields.problem_at(name, index, "string_too_short", "must not be empty");
    }
    texts
}

fn read_lane(fields: &mut Fields<'_>) -> Lane {
    let named = fields.get("highest_lane");
    let Some(name) = named.and_then(|value| fields.text("highest_lane", value)) else {
        return Lane::High;
    };
    Lane::ALL.into_iter().find(|lane| lane.as_str() == name).unwrap_or_else(|| {
        let allowed = Lane::ALL.map(Lane::as_str).join(", ");
        let message = format!("must be one of {allowed}, got '{}'", echo(name));
        fields.problem("highest_lane", "enum", message);
        Lane::High
    })
}

/// Reads a time: RFC 3339, or milliseconds since 1970.
fn read_expiry(fields: &mut Fields<'_>, now: Timestamp) -> Option<Timestamp> {
    let value = fields.get("expires_at")?;
    let millis = match value {
        Value::String(text) => OffsetDateTime::parse(text, &Rfc3339)
            .ok()
            .and_then(|at| u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()),
        other => other.as_u64(),
    };
    let at = millis.map(Timestamp::from_millis);
    match at {
        None => {
            let got = match value {
                Value::String(text) => format!("'{}'", echo(text)),
                Value::Number(number) => number.to_string(),
                other => type_name(other).to_owned(),
            };
            let message = format!(
                "expected a time such as \"2030-01-31T12:00:00Z\" (RFC 3339) or milliseconds since \
                 1970, got {got}"
            );
            fields.problem("expires_at", "datetime_parsing", message);
        }
        Some(at) if at <= now => {
            let message = "must lie in the future; to refuse the key now, block it";
            fields.problem("expires_at", "greater_than", message);
        }
        Some(_) => {}
    }
    at
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn kinds(problems: Vec<FieldError>) -> Vec<&'static str> {
        problems.into_iter().map(|problem| problem.kind).collect()
    }

    #[test]
    fn a_name_is_enough() {
        let key = new(&json!({"name": "ci"}), NOW).unwrap();
        assert_eq!((key.name.as_str(), key.owner.as_str()), ("ci", key.id.as_str()));
        assert_eq!(key.scopes, BTreeSet::from([Scope::Submit]));
        assert_eq!((key.limits, key.highest_lane), (KeyLimits::default(), Lane::High));
        assert_eq!((key.expires_at, key.blocked), (None, false));
    }

    #[test]
    fn every_field_is_read() {
        let body = json!({
            "name": "n", "owner": "a.b_c@d-e", "scopes": ["read", "admin"], "models": ["m"],
            "requests_per_minute": 1, "tokens_per_minute": 2, "max_in_flight": 3,
            "tokens_per_day": 4, "batch_tokens_per_day": 5, "highest_lane": "low",
            "expires_at": "2030-01-31T12:00:00Z", "metadata": {"team": "x"},
        });
        let key = new(&body, NOW).unwrap();
        assert_eq!(key.owner.as_str(), "a.b_c@d-e");
        assert_eq!(key.scopes, BTreeSet::from([Scope::Read, Scope::Admin]));
        assert_eq!(
            (key.limits.tokens_per_minute, key.limits.batch_tokens_per_day),
            (Some(2), Some(5))
        );
        assert_eq!(key.highest_lane, Lane::Low);
        assert_eq!(key.expires_at.map(Timestamp::as_millis), Some(1_896_091_200_000));
        assert_eq!(key.metadata["team"], "x");
    }

    #[test]
    fn all_problems_are_listed() {
        let body = json!({
            "owner": "a b", "scopes": ["write", "read"], "models": "m", "max_in_flight": 0,
            "highest_lane": "urgent", "expires_at": 5, "metadata": [], "requests_per_minut": 1,
        });
        let problems = new(&body, NOW).unwrap_err();
        let said = |part: &str| problems.iter().any(|problem| problem.message.contains(part));
        assert!(said("did you mean 'requests_per_minute'"), "{problems:?}");
        assert_eq!(problems.len(), 9, "{problems:?}");
        for (body, kind) in [
            (json!({"name": ""}), "value_error"),
            (json!({"name": "a\nb"}), "value_error"),
            (json!({"name": "n", "scopes": []}), "too_short"),
            (json!({"name": "n", "models": [""]}), "string_too_short"),
            (json!({"name": "n", "expires_at": "soon"}), "datetime_parsing"),
            (json!({"name": "n", "owner": ""}), "value_error"),
            (json!({"name": "n", "blocked": true}), "extra_forbidden"),
        ] {
            assert_eq!(kinds(new(&body, NOW).unwrap_err()), [kind], "{body}");
        }
    }

    #[test]
    fn changes_keep_what_is_absent_and_clear_what_is_null() {
        let body = json!({"name": "n", "models": ["m"], "max_in_flight": 3, "tokens_per_day": 9});
        let mut key = new(&body, NOW).unwrap();
        let wanted = json!({"blocked": true, "models": null, "max_in_flight": null, "expires_at": 1_800_000_000_001_u64});
        change(&wanted, &mut key, NOW).unwrap();
        assert!(key.blocked && key.models.is_empty() && key.name == "n");
        assert_eq!((key.limits.max_in_flight, key.limits.tokens_per_day), (None, Some(9)));
        assert!(key.expires_at.is_some());
        change(&json!({"expires_at": null, "owner": key.owner}), &mut key, NOW).unwrap();
        assert_eq!(key.expires_at, None);
        for (body, kind) in [
            (json!({"owner": "another"}), "value_error"),
            (json!({"name": null}), "missing"),
            (json!({"scopes": null}), "missing"),
            (json!({"blocked": 1}), "bool_type"),
            (json!({"id": "key_1"}), "extra_forbidden"),
        ] {
            assert_eq!(kinds(change(&body, &mut key, NOW).unwrap_err()), [kind], "{body}");
        }
    }
}
