//! Reads the file of a schedule, and lists all its problems.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use protocol::{KeyId, TenantId, VisionFamily};
use serde::Deserialize;
use serde_json::{Map, Value};
use toml::Spanned;

use super::order;
use crate::options::Options;
use crate::owner;
use crate::timetable::{Entry, Missed, Payer, Timetable, Timing};
use crate::validate::fields::Fields;
use crate::validate::{FieldError, echo};

/// The most entries of a file.
const MAX_ENTRIES: usize = 500;
/// The largest file, in bytes.
const MAX_BYTES: u64 = 16 << 20;
/// The longest name of an entry.
const MAX_NAME: usize = 64;
/// The most missed occurrences that an entry may submit.
const MAX_MISSED: u64 = 1_000;
/// The number of them if the file does not say it.
const DEFAULT_MAX_MISSED: u64 = 10;
/// The longest grace, in seconds: a day.
const MAX_GRACE_S: u64 = 86_400;
/// The grace if the file does not say it.
const DEFAULT_GRACE_S: u64 = 60;
/// The longest jitter, in seconds.
const MAX_JITTER_S: u64 = 3_600;

/// The fields of an entry.
const KNOWN: [&str; 12] = [
    "name",
    "cron",
    "timezone",
    "owner",
    "key",
    "request",
    "skill",
    "missed",
    "max_missed",
    "grace_s",
    "jitter_s",
    "enabled",
];

/// Why a schedule can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the schedule {} (SCHEDULE_FILE) can't be used:\n  - {}", file.display(), problems.join("\n  - "))]
pub struct ScheduleError {
    /// The file.
    pub file: PathBuf,
    /// All problems, each with its line.
    pub problems: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    task: Vec<Spanned<Map<String, Value>>>,
}

/// Reads the schedule that a setting names; without a file it is empty.
///
/// # Errors
/// If the file can't be read, or something in it is wrong: all problems.
pub fn read(file: Option<&Path>, options: &Options) -> Result<Timetable, ScheduleError> {
    let Some(file) = file else { return Ok(Timetable::default()) };
    let failed = |problems| ScheduleError { file: file.to_owned(), problems };
    let text = text_of(file).map_err(|problem| failed(vec![problem]))?;
    check(&text, options).map_err(failed)
}

fn text_of(file: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("it can't be read: {error}");
    let size = std::fs::metadata(file).map_err(unreadable)?.len();
    if size > MAX_BYTES {
        return Err(format!("it has {size} bytes, at most {MAX_BYTES} are allowed"));
    }
    std::fs::read_to_string(file).map_err(unreadable)
}

/// Checks the text of a schedule's file against the limits of requests.
///
/// # Errors
/// If something is wrong: all problems, each with its line.
pub fn check(text: &str, options: &Options) -> Result<Timetable, Vec<String>> {
    let line = |at: usize| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
    let file: File = toml::from_str(text).map_err(|error| {
        let place = error.span().map_or(0, |span| span.start);
        vec![format!("line {}: {}", line(place), error.message().replace('\n', " "))]
    })?;
    let mut problems = Vec::new();
    if file.task.len() > MAX_ENTRIES {
        let count = file.task.len();
        problems.push(format!("it has {count} tasks, at most {MAX_ENTRIES} are allowed"));
    }
    let (mut entries, mut lines) = (Vec::new(), BTreeMap::new());
    for task in file.task {
        let line = line(task.span().start);
        let body = Value::Object(task.into_inner());
        let named = body.get("name").and_then(Value::as_str);
        let what = named.map_or_else(|| "a task".to_owned(), |name| format!("'{}'", echo(name)));
        let mut wrong = |message: String| problems.push(format!("line {line}: {what}: {message}"));
        if let Some(name) = named
            && let Some(first) = lines.insert(name.to_owned(), line)
        {
            wrong(format!("name: the task of line {first} has the same name"));
        }
        match entry(&body, options) {
            Ok(entry) => entries.push(Arc::new(entry)),
            Err(found) => found.iter().for_each(|problem| wrong(problem.message_with_path())),
        }
    }
    if problems.is_empty() { Ok(Timetable { entries: Some(entries) }) } else { Err(problems) }
}

/// Checks an entry.
fn entry(body: &Value, options: &Options) -> Result<Entry, Vec<FieldError>> {
    let mut fields = Fields::new(body, &KNOWN)?;
    let name = name(&mut fields);
    let timing = timing(&mut fields);
    let payer = payer(&mut fields);
    let skill = fields.short_text("skill", MAX_NAME);
    let request = request(&mut fields);
    let missed = missed(&mut fields);
    let max_missed = fields.integer("max_missed", 1..=MAX_MISSED);
    if max_missed.is_some() && missed != Missed::All {
        fields.problem("max_missed", "value_error", "only with missed = \"all\"");
    }
    let grace_s = fields.integer("grace_s", 1..=MAX_GRACE_S).unwrap_or(DEFAULT_GRACE_S);
    let jitter_s = fields.integer("jitter_s", 0..=MAX_JITTER_S).unwrap_or(0);
    let enabled = fields.boolean("enabled").unwrap_or(true);
    let checked = request
        .as_ref()
        .map(|request| order::check(request, skill.as_deref(), options, VisionFamily::Qwen3Vl));
    let whole = name.zip(timing).zip(payer).zip(request);
    let entry = whole.map(|(((name, timing), payer), request)| Entry {
        name,
        timing,
        payer,
        skill,
        request,
        missed,
        max_missed: max_missed.unwrap_or(DEFAULT_MAX_MISSED),
        grace: Duration::from_secs(grace_s),
        jitter_s,
        enabled,
    });
    match (fields.finish(entry), checked) {
        (Ok(entry), Some(Ok(())) | None) => Ok(entry),
        (Ok(_), Some(Err(problems))) => Err(problems),
        (Err(problems), Some(Err(more))) => Err([problems, more].concat()),
        (Err(problems), _) => Err(problems),
    }
}

fn name(fields: &mut Fields<'_>) -> Option<String> {
    let value = fields.required("name", "a name")?;
    let name = fields.text("name", value)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(is_plain) {
        let message = format!("must have 1 to {MAX_NAME} letters, digits and '.', '_', '-'");
        fields.problem("name", "string_pattern_mismatch", message);
        return None;
    }
    Some(name.to_owned())
}

fn timing(fields: &mut Fields<'_>) -> Option<Timing> {
    let zone = match fields.get("timezone") {
        None => Some(chrono_tz::Tz::UTC),
        Some(value) => fields.text("timezone", value).and_then(|name| {
            let zone = name.parse().ok();
            if zone.is_none() {
                let message = format!(
                    "unknown time zone '{}': expected a name of the IANA database, such as UTC or Europe/Oslo",
                    echo(name)
                );
                fields.problem("timezone", "value_error", message);
            }
            zone
        }),
    };
    let value = fields.required("cron", "a cron expression")?;
    let expression = fields.text("cron", value)?;
    match Timing::parse(expression.trim(), zone.unwrap_or(chrono_tz::Tz::UTC)) {
        Ok(timing) => zone.map(|_| timing),
        Err(message) => {
            fields.problem("cron", "value_error", message);
            None
        }
    }
}

fn payer(fields: &mut Fields<'_>) -> Option<Payer> {
    let mut text = |name: &str| {
        let value = fields.get(name)?;
        fields.text(name, value)
    };
    let (owner, key) = (text("owner"), text("key"));
    let of_key = ["key_", "env_"];
    match (owner, key) {
        (Some(owner), None) if owner::is_plain(owner) => Some(Payer::Owner(TenantId::new(owner))),
        (None, Some(key))
            if of_key.iter().any(|start| key.starts_with(start)) && owner::is_plain(key) =>
        {
            Some(Payer::Key(KeyId::from_text(key)))
        }
        (Some(_), None) => {
            let message = format!(
                "must have 1 to {} letters, digits and '.', '_', '@', '-'",
                owner::MAX_LENGTH
            );
            fields.problem("owner", "string_pattern_mismatch", message);
            None
        }
        (None, Some(_)) => {
            let message = "must be the id of a key, key_… or env_…, not its text";
            fields.problem("key", "string_pattern_mismatch", message);
            None
        }
        (Some(_), Some(_)) => {
            fields.problem(
                "key",
                "value_error",
                "give either owner or key, not both: a key has an owner",
            );
            None
        }
        (None, None) => {
            let message = "this field is required: the owner of the tasks, or key: the id of a key whose owner and \
                           limits apply";
            fields.problem("owner", "missing", message);
            None
        }
    }
}

fn request(fields: &mut Fields<'_>) -> Option<Value> {
    let value = fields.required("request", "a table, the body of a request to POST /generate")?;
    if !value.is_object() {
        fields.problem("request", "dict_type", "expected a table");
        return None;
    }
    Some(value.clone())
}

fn missed(fields: &mut Fields<'_>) -> Missed {
    let Some(value) = fields.get("missed") else { return Missed::default() };
    let Some(name) = fields.text("missed", value) else { return Missed::default() };
    let known = Missed::ALL.into_iter().find(|policy| policy.as_str() == name);
    if known.is_none() {
        let allowed = Missed::ALL.map(Missed::as_str).join(", ");
        let message = format!("must be one of {allowed}, got '{}'", echo(name));
        fields.problem("missed", "enum", message);
    }
    known.unwrap_or_default()
}

#[cfg(test)]
mod tests;
