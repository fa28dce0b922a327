//! Reads `tools`, `tool_choice` and `response_format`.

use protocol::{Constraint, Tool, ToolChoice};
use serde_json::Value;

use crate::validate::fields::Fields;
use crate::validate::{echo, type_name};

/// Maximum number of functions.
const MAX_TOOLS: usize = 256;
/// Maximum size of all functions together, in bytes of JSON.
const MAX_TOOL_BYTES: usize = 1 << 20;
/// Maximum length of a function's name, in characters.
const MAX_NAME: usize = 128;

/// Where a dialect's functions have their fields.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::dialects) enum Nesting {
    /// In an object `function`, as in chat completions.
    Function,
    /// Beside the type, as in responses.
    Flat,
}

impl Nesting {
    fn body(self, value: &Value) -> Option<&Value> {
        match self {
            Self::Function => value.get("function"),
            Self::Flat => Some(value),
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Function => {
                "expected {\"type\": \"function\", \"function\": {\"name\": …, \"parameters\": {…}}}"
            }
            Self::Flat => "expected {\"type\": \"function\", \"name\": …, \"parameters\": {…}}",
        }
    }
}

/// Reads `tools` and `tool_choice`. With the choice "none", no function is offered.
pub(in crate::dialects::openai) fn read(
    fields: &mut Fields<'_>,
    nesting: Nesting,
) -> (Vec<Tool>, ToolChoice) {
    let tools = tools(fields, nesting);
    let choice = match fields.get("tool_choice") {
        None => ToolChoice::Auto,
        Some(value) => choice(fields, value, nesting, &tools),
    };
    match choice {
        ToolChoice::None => (Vec::new(), ToolChoice::None),
        choice => (tools, choice),
    }
}

fn tools(fields: &mut Fields<'_>, nesting: Nesting) -> Vec<Tool> {
    list(fields, |value| match nesting == Nesting::Flat && is_skipped(value) {
        true => Ok(None),
        false => tool(value, nesting).map(Some),
    })
}

/// Returns whether a tool of a response is skipped. Codex sends a search of the web and a namespace along with every
/// request; the model never calls them.
pub(in crate::dialects::openai) fn is_skipped(tool: &Value) -> bool {
    let kind = tool.get("type").and_then(Value::as_str).unwrap_or_default();
    kind == "namespace" || kind.starts_with("web_search")
}

/// Reads the array `tools` within its limits; `read` returns `None` for a tool that is skipped.
pub(in crate::dialects) fn list(
    fields: &mut Fields<'_>,
    read: impl Fn(&Value) -> Result<Option<Tool>, String>,
) -> Vec<Tool> {
    let Some(value) = fields.get("tools") else { return Vec::new() };
    let Some(list) = value.as_array() else {
        let message = format!("expected an array of functions, got {}", type_name(value));
        fields.problem("tools", "list_type", message);
        return Vec::new();
    };
    let bytes: usize = list.iter().map(|tool| tool.to_string().len()).sum();
    if list.len() > MAX_TOOLS || bytes > MAX_TOOL_BYTES {
        let message = format!(
            "at most {MAX_TOOLS} functions and {MAX_TOOL_BYTES} bytes, has {} and {bytes}",
            list.len()
        );
        fields.problem("tools", "too_long", message);
        return Vec::new();
    }
    let mut tools: Vec<Tool> = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        match read(value) {
            Ok(None) => {}
            Ok(Some(tool)) if tools.iter().any(|other| other.name == tool.name) => {
                let message = format!("there are two functions '{}'", tool.name);
                fields.problem_at("tools", index, "value_error", message);
            }
            Ok(Some(tool)) => tools.push(tool),
            Err(message) => {
                let kind = value.get("type").and_then(Value::as_str);
                let is_hosted = kind.is_some_and(|kind| kind != "function");
                let kind = if is_hosted { "unsupported_parameter" } else { "value_error" };
                fields.problem_at("tools", index, kind, message);
            }
        }
    }
    tools
}

fn tool(value: &Value, nesting: Nesting) -> Result<Tool, String> {
    match value.get("type").and_then(Value::as_str) {
        Some("function") => {}
        Some(other) => {
            let hosted = echo(other);
            return Err(format!(
                "tools of type '{hosted}' are not supported: only functions of your own are"
            ));
        }
        None => return Err(nesting.expected().to_owned()),
    }
    let function = nesting.body(value).filter(|function| function.is_object());
    function_of(function.ok_or_else(|| nesting.expected().to_owned())?, "parameters")
}

/// Reads a function's name, its description, and the schema of its arguments from the field
/// `schema`.
pub(in crate::dialects) fn function_of(function: &Value, schema: &str) -> Result<Tool, String> {
    let given = |key: &str| function.get(key).filter(|value| !value.is_null());
    let name = given("name").and_then(Value::as_str).unwrap_or_default();
    if !is_name(name) {
        return Err(format!(
            "a function's name is 1 to {MAX_NAME} of a-z, A-Z, 0-9, _, -, . and :"
        ));
    }
    let description = match given("description") {
        None => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => return Err(format!("a description is a string, not {}", type_name(other))),
    };
    let parameters = match given(schema) {
        None => None,
        Some(parameters @ Value::Object(_)) => Some(parameters.clone()),
        Some(other) => {
            let got = type_name(other);
            return Err(format!("{schema} must be a JSON schema, an object, not {got}"));
        }
    };
    Ok(Tool { name: name.to_owned(), description, parameters })
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    !name.is_empty() && name.len() <= MAX_NAME && name.chars().all(plain)
}

fn choice(fields: &mut Fields<'_>, value: &Value, nesting: Nesting, tools: &[Tool]) -> ToolChoice {
    let choice = match value {
        Value::String(text) => match text.as_str() {
            "auto" => return ToolChoice::Auto,
            "none" => return ToolChoice::None,
            "required" | "any" => Some(ToolChoice::Required),
            _ => None,
        },
        Value::Object(_) if value.get("type").is_some_and(|kind| kind == "function") => {
            let name = nesting.body(value).and_then(|function| function.get("name"));
            name.and_then(Value::as_str).map(|name| ToolChoice::Function(name.to_owned()))
        }
        _ => None,
    };
    let Some(choice) = choice else {
        let expected = match nesting {
            Nesting::Function => "{\"type\": \"function\", \"function\": {\"name\": …}}",
            Nesting::Flat => "{\"type\": \"function\", \"name\": …}",
        };
        let message = format!("expected \"auto\", \"none\", \"required\" or {expected}");
        fields.problem("tool_choice", "literal_error", message);
        return ToolChoice::Auto;
    };
    check_offered(fields, &choice, tools);
    choice
}

/// Refuses a required call of a function that is not offered.
pub(in crate::dialects) fn check_offered(
    fields: &mut Fields<'_>,
    choice: &ToolChoice,
    tools: &[Tool],
) {
    let is_offered = match choice {
        ToolChoice::Function(name) => tools.iter().any(|tool| tool.name == *name),
        ToolChoice::Required => !tools.is_empty(),
        ToolChoice::Auto | ToolChoice::None => true,
    };
    if !is_offered {
        fields.problem("tool_choice", "value_error", "tools has no such function to call");
    }
}

/// Reads a format of the answer: `{"type": "text"}`, `{"type": "json_object"}`, or `{"type":
/// "json_schema"}` with its schema, which is in an object `json_schema` or (in responses) beside the
/// type. `path` is where it stands.
pub(in crate::dialects) fn format(
    fields: &mut Fields<'_>,
    path: &[&str],
    value: Option<&Value>,
    nesting: Nesting,
) -> Option<Constraint> {
    let value = value.filter(|value| !value.is_null())?;
    let mut problem = |inner: &[&str], kind, message: String| {
        let path: Vec<_> = path.iter().chain(inner).copied().map(Into::into).collect();
        fields.problem_within(&path, kind, message);
        None
    };
    match value.get("type").and_then(Value::as_str) {
        Some("text") => None,
        Some("json_object") => Some(Constraint::JsonObject),
        Some("json_schema") => {
            let (named, inner) = match nesting {
                Nesting::Function => (value.get("json_schema"), &["json_schema", "schema"][..]),
                Nesting::Flat => (Some(value), &["schema"][..]),
            };
            match named.and_then(|named| named.get("schema")) {
                Some(schema @ Value::Object(_)) => Some(Constraint::JsonSchema(schema.clone())),
                Some(other) if !other.is_null() => {
                    let message =
                        format!("must be a JSON schema, an object, is {}", type_name(other));
                    problem(inner, "dict_type", message)
                }
                _ => {
                    problem(inner, "missing", "this field is required: the JSON schema".to_owned())
                }
            }
        }
        _ => {
            let message = "expected {\"type\": \"text\"}, {\"type\": \"json_object\"} or {\"type\": \
                           \"json_schema\", …}";
            problem(&["type"], "literal_error", message.to_owned())
        }
    }
}
