//! Validates the functions that the model may call, and the thinking mode.

use protocol::{Tool, ToolChoice};
use serde_json::Value;

use super::fields::Fields;
use super::{echo, type_name};

/// The fields that this module reads.
pub(super) const KNOWN: [&str; 3] = ["tools", "tool_choice", "enable_thinking"];
/// Maximum number of functions.
pub(crate) const MAX_TOOLS: usize = 64;
/// Maximum length of a function's name, in characters.
const MAX_NAME: usize = 64;
/// Maximum size of all functions together, in bytes of JSON.
const MAX_BYTES: usize = 64 << 10;
const TOOL: &str = "{\"type\": \"function\", \"function\": {\"name\": …, \"description\": …, \
                    \"parameters\": {…}}}";
const CHOICE: &str = "\"auto\", \"none\", \"required\" or {\"type\": \"function\", \"function\": \
                      {\"name\": …}}";

/// The validated fields.
#[derive(Debug, Default)]
pub(super) struct Chat {
    pub(super) tools: Vec<Tool>,
    pub(super) choice: ToolChoice,
    pub(super) thinking: Option<bool>,
}

/// Reads the fields. With `raw`, the prompt skips the chat template, without which they have no
/// effect.
pub(super) fn read(fields: &mut Fields<'_>, raw: bool, constrained: bool) -> Chat {
    let thinking = fields.boolean("enable_thinking");
    let mut tools = tools(fields);
    let choice = match fields.get("tool_choice") {
        None => ToolChoice::Auto,
        // Without tools there is nothing to call, so "none" is the same as the default.
        Some(Value::String(none)) if none == "none" => match tools.is_empty() {
            true => ToolChoice::Auto,
            false => {
                tools.clear();
                ToolChoice::None
            }
        },
        Some(value) => choice(fields, value, &tools),
    };
    for name in KNOWN.iter().filter(|_| raw) {
        if fields.get(name).is_some() {
            fields.problem(
                name,
                "value_error",
                "not together with raw: it needs the chat template",
            );
        }
    }
    if constrained && !tools.is_empty() {
        let message = "not together with response_format, regex or choice: an answer that keeps them \
                       calls nothing";
        fields.problem("tools", "value_error", message);
    }
    Chat { tools, choice, thinking }
}

fn tools(fields: &mut Fields<'_>) -> Vec<Tool> {
    let Some(value) = fields.get("tools") else { return Vec::new() };
    let Some(list) = value.as_array() else {
        let got = type_name(value);
        fields.problem("tools", "list_type", format!("expected an array of {TOOL}, got {got}"));
        return Vec::new();
    };
    let bytes = value.to_string().len();
    if list.len() > MAX_TOOLS || bytes > MAX_BYTES {
        let message = format!(
            "at most {MAX_TOOLS} functions and {MAX_BYTES} bytes, has {} and {bytes}",
            list.len()
        );
        fields.problem("tools", "too_long", message);
        return Vec::new();
    }
    let mut tools: Vec<Tool> = Vec::with_capacity(list.len());
    for (index, item) in list.iter().enumerate() {
        match tool(item) {
            Ok(tool) if tools.iter().any(|other| other.name == tool.name) => {
                let message = format!("there are two functions '{}'", tool.name);
                fields.problem_at("tools", index, "value_error", message);
            }
            Ok(tool) => tools.push(tool),
            Err(message) => fields.problem_at("tools", index, "value_error", message),
        }
    }
    tools
}

fn tool(value: &Value) -> Result<Tool, String> {
    if value.get("type").and_then(Value::as_str) != Some("function") {
        return Err(format!("expected {TOOL}"));
    }
    let function = value.get("function").and_then(Value::as_object);
    let function = function.ok_or_else(|| format!("expected {TOOL}"))?;
    let known = ["name", "description", "parameters", "strict"];
    if let Some(unknown) = function.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(format!(
            "a function has no '{}'. Allowed: {}",
            echo(unknown),
            known.join(", ")
        ));
    }
    let name = function.get("name").and_then(Value::as_str).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain) {
        return Err(format!("a function's name is 1 to {MAX_NAME} of a-z, A-Z, 0-9, _, - and ."));
    }
    let given = |key: &str| function.get(key).filter(|value| !value.is_null());
    let description = match given("description") {
        None => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => return Err(format!("a description is a string, not {}", type_name(other))),
    };
    let parameters = match given("parameters") {
        None => None,
        Some(schema @ Value::Object(_)) => Some(schema.clone()),
        Some(other) => {
            return Err(format!(
                "parameters are a JSON schema, an object, not {}",
                type_name(other)
            ));
        }
    };
    Ok(Tool { name: name.to_owned(), description, parameters })
}

fn choice(fields: &mut Fields<'_>, value: &Value, tools: &[Tool]) -> ToolChoice {
    let named = || value.get("function")?.get("name")?.as_str();
    let choice = match value.as_str() {
        Some("auto") => return ToolChoice::Auto,
        Some("required") => ToolChoice::Required,
        _ => match named() {
            Some(name) => ToolChoice::Function(name.to_owned()),
            None => {
                fields.problem("tool_choice", "literal_error", format!("expected {CHOICE}"));
                return ToolChoice::Auto;
            }
        },
    };
    let known = match &choice {
        ToolChoice::Function(name) => tools.iter().any(|tool| tool.name == *name),
        _ => !tools.is_empty(),
    };
    if !known {
        fields.problem("tool_choice", "value_error", "tools has no such function to call");
    }
    choice
}
