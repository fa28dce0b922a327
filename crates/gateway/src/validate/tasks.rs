//! Validates the filters of operators' searches for tasks, from a query and from a body.

use std::collections::BTreeSet;
use std::time::Duration;

use protocol::{Lane, ModelId, TenantId};
use queue::{ListedState, TaskCursor, TaskFilter};
use serde_json::{Map, Number, Value};

use super::fields::Fields;
use super::queueing::metadata;
use super::{FieldError, echo};

/// Page size if the request sets none.
pub(crate) const DEFAULT_TASKS: usize = 50;
/// Maximum page size.
pub(crate) const MAX_TASKS: usize = 500;
/// Maximum number of tasks that one request cancels, and the default.
pub(crate) const MAX_CANCELLED: usize = 1_000;
/// Maximum age in a filter, in seconds: ten years.
const MAX_AGE_S: u64 = 10 * 366 * 24 * 60 * 60;
/// Maximum length of a name in a filter, in characters.
const MAX_NAME: usize = 1_024;

/// The fields of a cancellation.
const CANCELLATION: [&str; 12] = [
    "state",
    "model",
    "lane",
    "tenant",
    "user_id",
    "metadata",
    "older_than",
    "newer_than",
    "cursor",
    "limit",
    "all",
    "dry_run",
];
/// The parameters of a listing: the same without the last two.
pub(crate) const LISTING: &[&str] = CANCELLATION.split_at(10).0;

/// A page of tasks to list.
#[derive(Debug, PartialEq)]
pub(crate) struct TasksQuery {
    pub(crate) filter: TaskFilter,
    pub(crate) after: Option<TaskCursor>,
    pub(crate) limit: usize,
}

/// Which tasks to cancel.
#[derive(Debug, PartialEq)]
pub(crate) struct Cancellation {
    pub(crate) filter: TaskFilter,
    pub(crate) after: Option<TaskCursor>,
    pub(crate) limit: usize,
    pub(crate) dry_run: bool,
}

/// Reads the query of a listing: the parameters as they were given, in order.
pub(crate) fn listing(given: &[(String, String)]) -> Result<TasksQuery, Vec<FieldError>> {
    // The same fields as in a body, but all values are text.
    let mut body = Map::new();
    let mut notes = Map::new();
    let mut no_notes = Vec::new();
    for (name, text) in given {
        let value = match name.as_str() {
            "metadata" => {
                match text.split_once('=') {
                    Some((key, value)) => drop(notes.insert(key.to_owned(), value.into())),
                    None => no_notes.push(text),
                }
                Value::Object(notes.clone())
            }
            "older_than" | "newer_than" | "limit" => {
                text.parse::<Number>().map_or_else(|_| text.as_str().into(), Value::Number)
            }
            // So are parameters that are left empty.
            _ if text.is_empty() => Value::Null,
            _ => text.as_str().into(),
        };
        body.insert(name.clone(), value);
    }
    let body = Value::Object(body);
    let read = Fields::new(&body, LISTING).and_then(|mut fields| {
        for text in no_notes {
            let message = format!("must be a key and a value as `key=value`, got '{}'", echo(text));
            fields.problem("metadata", "value_error", message);
        }
        let filter = filter(&mut fields);
        let limit = fields.integer("limit", 1..=MAX_TASKS as u64);
        let limit = limit.map_or(DEFAULT_TASKS, |limit| limit as usize);
        let after = cursor(&mut fields);
        fields.finish(Some(TasksQuery { filter, after, limit }))
    });
    read.map_err(|problems| problems.into_iter().map(in_query).collect())
}

/// Reads the body of a cancellation. Without a filter, `all` must be set, so that a forgotten field does not cancel all.
pub(crate) fn cancellation(body: &Value) -> Result<Cancellation, Vec<FieldError>> {
    let mut fields = Fields::new(body, &CANCELLATION)?;
    let filter = filter(&mut fields);
    if let Some(other) = filter.states.iter().find(|state| !state.is_queued()) {
        let message = format!(
            "only queued and delayed tasks can be cancelled by a filter, got '{other}'; POST /cancel/{{task_id}} \
             stops one that runs"
        );
        fields.problem("state", "value_error", message);
    }
    let is_all = fields.boolean("all").unwrap_or(false);
    if filter == TaskFilter::default() && !is_all {
        let message =
            "say which tasks to cancel by at least one field of a filter, or set \"all\" to true";
        fields.problem("all", "missing", message);
    }
    let dry_run = fields.boolean("dry_run").unwrap_or(true);
    let limit = fields.integer("limit", 1..=MAX_CANCELLED as u64);
    let limit = limit.map_or(MAX_CANCELLED, |limit| limit as usize);
    let after = cursor(&mut fields);
    fields.finish(Some(Cancellation { filter, after, limit, dry_run }))
}

fn filter(fields: &mut Fields<'_>) -> TaskFilter {
    let age = |fields: &mut Fields<'_>, name| {
        fields.integer(name, 0..=MAX_AGE_S).map(Duration::from_secs)
    };
    TaskFilter {
        states: states(fields),
        model: fields.short_text("model", MAX_NAME).map(ModelId::new),
        lane: lane(fields),
        tenant: fields.short_text("tenant", MAX_NAME).map(TenantId::new),
        user_id: fields.short_text("user_id", MAX_NAME),
        metadata: metadata(fields),
        older_than: age(fields, "older_than"),
        newer_than: age(fields, "newer_than"),
    }
}

/// Reads one state, or several separated by commas.
fn states(fields: &mut Fields<'_>) -> BTreeSet<ListedState> {
    let text = fields.get("state").and_then(|value| fields.text("state", value));
    let mut states = BTreeSet::new();
    for name in text.into_iter().flat_map(|text| text.split(',')).map(str::trim) {
        match name.parse() {
            Ok(state) => drop(states.insert(state)),
            Err(_) => {
                let known = ListedState::ALL.map(ListedState::as_str).join(", ");
                let message =
                    format!("must be some of {known}, separated by commas; got '{}'", echo(name));
                fields.problem("state", "enum", message);
            }
        }
    }
    states
}

fn lane(fields: &mut Fields<'_>) -> Option<Lane> {
    let text = fields.get("lane").and_then(|value| fields.text("lane", value))?;
    let lane = Lane::ALL.into_iter().find(|lane| lane.as_str() == text);
    if lane.is_none() {
        let known = Lane::ALL.map(Lane::as_str).join(", ");
        fields.problem("lane", "enum", format!("must be one of {known}, got '{}'", echo(text)));
    }
    lane
}

fn cursor(fields: &mut Fields<'_>) -> Option<TaskCursor> {
    let text = fields.get("cursor").and_then(|value| fields.text("cursor", value))?;
    let cursor = text.parse();
    if cursor.is_err() {
        let message =
            format!("must be the `next_cursor` of an earlier reply, got '{}'", echo(text));
        fields.problem("cursor", "value_error", message);
    }
    cursor.ok()
}

/// Says that a problem is with a parameter of the query.
fn in_query(mut problem: FieldError) -> FieldError {
    if let Some(place) = problem.loc.first_mut() {
        *place = "query".into();
    }
    problem
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::loc::Loc;

    fn query(text: &str) -> Result<TasksQuery, Vec<FieldError>> {
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        listing(&pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>())
    }

    #[test]
    fn every_field_of_a_filter_is_read() {
        let states = BTreeSet::from([ListedState::Failed, ListedState::Cancelled]);
        let expected = TaskFilter {
            states,
            model: Some(ModelId::new("demo")),
            lane: Some(Lane::Batch),
            tenant: Some(TenantId::new("acme")),
            user_id: Some("u".into()),
            metadata: [("order".to_owned(), "7=8".to_owned()), ("b".to_owned(), String::new())]
                .into(),
            older_than: Some(Duration::from_secs(60)),
            newer_than: Some(Duration::from_secs(3_600)),
        };
        let cursor = "0192f0c123457abc8def0123456789ab";
        let given = format!(
            "state=failed,cancelled&model=demo&lane=batch&tenant=acme&user_id=u&metadata=order=7=8&\
             metadata=b=&older_than=60&newer_than=3600&limit=500&cursor={cursor}"
        );
        let found = query(&given).unwrap();
        assert_eq!((found.filter, found.limit), (expected.clone(), 500));
        assert_eq!(found.after.unwrap().to_string(), cursor);
        let found = query("state=&cursor=").unwrap();
        let all = TasksQuery { filter: TaskFilter::default(), after: None, limit: DEFAULT_TASKS };
        assert_eq!(found, all);

        let body = json!({
            "state": "queued, delayed", "model": "demo", "lane": "batch", "tenant": "acme", "user_id": "u",
            "metadata": {"order": "7=8", "b": ""}, "older_than": 60, "newer_than": 3600,
            "cursor": cursor, "limit": 7, "dry_run": false,
        });
        let found = cancellation(&body).unwrap();
        let states = BTreeSet::from([ListedState::Queued, ListedState::Delayed]);
        assert_eq!(found.filter, TaskFilter { states, ..expected });
        assert_eq!((found.limit, found.dry_run, found.after.is_some()), (7, false, true));
    }

    #[test]
    fn wrong_parameters_are_named() {
        for (given, name, kind) in [
            ("state=running", "state", "enum"),
            ("state=queued,", "state", "enum"),
            ("lane=fast", "lane", "enum"),
            ("older_than=1h", "older_than", "int_type"),
            ("newer_than=-1", "newer_than", "greater_than_equal"),
            ("metadata=x", "metadata", "value_error"),
            ("limit=0", "limit", "greater_than_equal"),
            ("limit=501", "limit", "less_than_equal"),
            ("limit=", "limit", "int_type"),
            ("cursor=7", "cursor", "value_error"),
            ("status=queued", "status", "extra_forbidden"),
            ("metadata==x", "metadata", "string_too_long"),
        ] {
            let problems = query(given).unwrap_err();
            assert_eq!(problems.len(), 1, "{given}: {problems:?}");
            assert_eq!(problems[0].loc, [Loc::from("query"), Loc::from(name)], "{given}");
            assert_eq!(problems[0].kind, kind, "{given}");
        }
    }

    #[test]
    fn a_cancellation_says_what_it_means() {
        let found = cancellation(&json!({"all": true})).unwrap();
        let all = TaskFilter::default();
        let expected =
            Cancellation { filter: all, after: None, limit: MAX_CANCELLED, dry_run: true };
        assert_eq!(found, expected, "nothing is cancelled by default");
        for (body, name, kind) in [
            (json!({}), "all", "missing"),
            (json!({"all": false, "dry_run": true}), "all", "missing"),
            (json!({"state": "processing"}), "state", "value_error"),
            (json!({"state": ["queued"]}), "state", "string_type"),
            (json!({"model": "demo", "dry_run": "no"}), "dry_run", "bool_type"),
            (json!({"model": "demo", "limit": 1_001}), "limit", "less_than_equal"),
            (json!({"models": "demo", "all": true}), "models", "extra_forbidden"),
        ] {
            let problems = cancellation(&body).unwrap_err();
            let found = problems.iter().find(|problem| problem.kind == kind).expect(kind);
            assert_eq!(found.loc, [Loc::from("body"), Loc::from(name)], "{body}");
        }
    }
}
