//! Validates output constraints: `response_format` as in OpenAI's API, `regex` and `choice` as in
//! vLLM's.

use protocol::{AnswerForm, Constraint, ToolChoice};
use serde_json::{Map, Value};

use super::fields::Fields;
use super::{FieldError, Loc, echo, type_name};

/// The fields that this module reads.
pub(super) const KNOWN: [&str; 3] = ["response_format", "regex", "choice"];
/// The allowed values of `response_format`, for messages.
const FORMATS: &str = "{\"type\": \"text\"}, {\"type\": \"json_object\"} or {\"type\": \"json_schema\", \
                       \"json_schema\": {\"name\": …, \"schema\": {…}}}";
/// The allowed fields of a `json_schema`.
const SCHEMA_FIELDS: [&str; 4] = ["name", "description", "schema", "strict"];

/// Reads the fields. [`keepable`] checks whether the constraint can be enforced.
pub(super) fn read(fields: &mut Fields<'_>) -> Option<Constraint> {
    let format = fields.get("response_format").and_then(|value| format(fields, value));
    let regex = fields.get("regex").and_then(|value| fields.text("regex", value));
    let regex = regex.map(|regex| ("regex", Constraint::Regex(regex.to_owned())));
    let choice = fields.get("choice").is_some().then(|| {
        let most = (grammar::limits::MAX_CHOICES, grammar::limits::MAX_CHOICE_BYTES);
        ("choice", Constraint::Choice(fields.texts("choice", most.0, most.1)))
    });
    let format = format.map(|format| ("response_format", format));
    let mut given = [format, regex, choice].into_iter().flatten();
    let first = given.next();
    if let Some((second, _)) = given.next() {
        let message = "give only one of response_format, regex and choice";
        fields.problem(second, "value_error", message);
    }
    first.map(|(_, constraint)| constraint)
}

fn format(fields: &mut Fields<'_>, value: &Value) -> Option<Constraint> {
    let name = "response_format";
    let Some(map) = value.as_object() else {
        fields.problem(name, "dict_type", format!("expected {FORMATS}, got {}", type_name(value)));
        return None;
    };
    match map.get("type").and_then(Value::as_str) {
        Some(kind @ ("text" | "json_object")) if map.len() > 1 => {
            let message = format!("{{\"type\": \"{kind}\"}} takes nothing beside its type");
            fields.problem(name, "extra_forbidden", message);
            None
        }
        Some("text") => None,
        Some("json_object") => Some(Constraint::JsonObject),
        Some("json_schema") => match schema(map) {
            Ok(schema) => Some(Constraint::JsonSchema(schema.clone())),
            Err(message) => {
                fields.problem(name, "value_error", message);
                None
            }
        },
        _ => {
            fields.problem(name, "literal_error", format!("expected {FORMATS}"));
            None
        }
    }
}

/// Returns the schema of a `response_format` of type `json_schema`, or the problem with it.
/// `strict` is ignored: every schema is enforced strictly.
fn schema(format: &Map<String, Value>) -> Result<&Value, String> {
    let Some(Value::Object(named)) = format.get("json_schema").filter(|_| format.len() == 2) else {
        return Err(format!("expected {FORMATS}"));
    };
    if let Some(unknown) = named.keys().find(|key| !SCHEMA_FIELDS.contains(&key.as_str())) {
        let allowed = SCHEMA_FIELDS.join(", ");
        return Err(format!("json_schema has no '{}'. Allowed: {allowed}", echo(unknown)));
    }
    match named.get("schema") {
        Some(schema @ Value::Object(_)) => Ok(schema),
        Some(other) => {
            Err(format!("json_schema.schema must be an object, is {}", type_name(other)))
        }
        None => Err("json_schema.schema is missing: the JSON schema of the answer".to_owned()),
    }
}

/// Checks whether the output constraint can be enforced, and returns warnings about parts that will
/// not be. Computes for up to some tens of milliseconds, in rare cases for a second.
///
/// # Errors
/// If it cannot be enforced. Names the field and the place within the schema.
pub(crate) fn keepable(form: &AnswerForm) -> Result<Vec<String>, FieldError> {
    let Some(constraint) = form.effective_constraint() else { return Ok(Vec::new()) };
    let field = match constraint {
        Constraint::JsonObject | Constraint::AtMostOneCall => return Ok(Vec::new()),
        Constraint::JsonSchema(_) => "response_format",
        Constraint::Regex(_) => "regex",
        Constraint::Choice(_) => "choice",
        Constraint::ToolCall(_) => "tools",
    };
    grammar::check(&constraint).map_err(|error| {
        let mut loc: Vec<Loc> = vec!["body".into(), field.into()];
        if let Some(pointer) = error.pointer() {
            match error.function().and_then(|called| index_of_tool(form, called)) {
                Some(index) => {
                    loc.extend([index.into(), "function".into(), "parameters".into()]);
                }
                None => loc.extend(["json_schema".into(), "schema".into()]),
            }
            loc.extend(pointer.split('/').skip(1).map(step));
        }
        FieldError { loc, message: error.to_string(), kind: "value_error" }
    })
}

/// Returns the index in `tools` of the function with this index among those that may be called.
fn index_of_tool(form: &AnswerForm, called: usize) -> Option<usize> {
    match &form.tool_choice {
        ToolChoice::Function(name) => form.tools.iter().position(|tool| tool.name == *name),
        _ => Some(called),
    }
}

/// Converts a step of a JSON pointer to a [`Loc`].
fn step(step: &str) -> Loc {
    match step.parse() {
        Ok(index) => Loc::Index(index),
        Err(_) => Loc::Name(echo(&step.replace("~1", "/").replace("~0", "~"))),
    }
}

#[cfg(test)]
mod tests;
