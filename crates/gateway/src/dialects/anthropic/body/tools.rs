//! Reads `tools` and `tool_choice`.

use protocol::{Tool, ToolChoice};
use serde_json::Value;

use crate::dialects::openai::request::tools::{check_offered, function_of, list};
use crate::validate::fields::Fields;

/// Reads the functions, the choice among them, and how many calls the answer may have. With the
/// choice `none`, no function is offered.
pub(super) fn read(fields: &mut Fields<'_>) -> (Vec<Tool>, ToolChoice, usize) {
    let tools = list(fields, tool);
    let Some(value) = fields.get("tool_choice") else {
        return (tools, ToolChoice::Auto, usize::MAX);
    };
    let single = value.get("disable_parallel_tool_use").and_then(Value::as_bool);
    let max_calls = if single == Some(true) { 1 } else { usize::MAX };
    let choice = match value.get("type").and_then(Value::as_str) {
        Some("auto") => Some(ToolChoice::Auto),
        Some("none") => return (Vec::new(), ToolChoice::None, max_calls),
        Some("any") => Some(ToolChoice::Required),
        Some("tool") => {
            let name = value.get("name").and_then(Value::as_str);
            name.map(|name| ToolChoice::Function(name.to_owned()))
        }
        _ => None,
    };
    let Some(choice) = choice else {
        let message = "expected {\"type\": \"auto\"}, {\"type\": \"any\"}, {\"type\": \"none\"} or \
                       {\"type\": \"tool\", \"name\": …}";
        fields.problem("tool_choice", "literal_error", message);
        return (tools, ToolChoice::Auto, max_calls);
    };
    check_offered(fields, &choice, &tools);
    (tools, choice, max_calls)
}

/// Reads a function. Tools that Anthropic's servers run have a type and no schema; they are
/// skipped, because agents send them along without a need for them.
fn tool(value: &Value) -> Result<Option<Tool>, String> {
    let kind = value.get("type").and_then(Value::as_str).unwrap_or("custom");
    if value.get("input_schema").is_none_or(Value::is_null) {
        return match kind {
            "custom" => Err("expected {\"name\": …, \"input_schema\": {…}}".to_owned()),
            _ => Ok(None),
        };
    }
    function_of(value, "input_schema").map(Some)
}
