//! Validates output constraints: `response_format` as in OpenAI's API, `regex` and `choice` as in
//! vLLM's.

use protocol::{AnswerForm, Constraint, Tool, ToolChoice};
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
    let may_be_called = |tool: &Tool| match &form.tool_choice {
        ToolChoice::Function(name) => tool.name == *name,
        _ => true,
    };
    let tools: Vec<(usize, &Tool)> =
        form.tools.iter().enumerate().filter(|(_, tool)| may_be_called(tool)).collect();
    let function = |(_, tool): &(usize, &Tool)| grammar::Function {
        name: tool.name.clone(),
        parameters: tool.parameters.clone(),
    };
    let (field, constraint) = match &form.constraint {
        None if !form.tool_choice.is_call() => return Ok(Vec::new()),
        None => ("tools", grammar::Constraint::ToolCall(tools.iter().map(function).collect())),
        Some(Constraint::JsonObject) => return Ok(Vec::new()),
        Some(Constraint::JsonSchema(schema)) => {
            ("response_format", grammar::Constraint::JsonSchema(schema.clone()))
        }
        Some(Constraint::Regex(regex)) => ("regex", grammar::Constraint::Regex(regex.clone())),
        Some(Constraint::Choice(choices)) => {
            ("choice", grammar::Constraint::Choice(choices.clone()))
        }
    };
    grammar::check(&constraint).map_err(|error| {
        let mut loc: Vec<Loc> = vec!["body".into(), field.into()];
        if let Some(pointer) = error.pointer() {
            match error.function().and_then(|function| tools.get(function)) {
                Some((index, _)) => {
                    loc.extend([(*index).into(), "function".into(), "parameters".into()]);
                }
                None => loc.extend(["json_schema".into(), "schema".into()]),
            }
            loc.extend(pointer.split('/').skip(1).map(step));
        }
        FieldError { loc, message: error.to_string(), kind: "value_error" }
    })
}

/// Converts a step of a JSON pointer to a [`Loc`].
fn step(step: &str) -> Loc {
    match step.parse() {
        Ok(index) => Loc::Index(index),
        Err(_) => Loc::Name(echo(&step.replace("~1", "/").replace("~0", "~"))),
    }
}
