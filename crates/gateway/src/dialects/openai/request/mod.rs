//! Reads what several of OpenAI's routes have in common. Unknown fields are ignored, `null` is the
//! same as absent, and fields that cannot be honoured are refused by name.

pub(super) mod inputs;
pub(super) mod sampling;
pub(in crate::dialects) mod tools;

pub(in crate::dialects) use crate::validate::messages;

use std::collections::BTreeMap;

use protocol::{AnswerForm, Constraint, Lane, Tool, ToolChoice};
use queue::Start;
use serde_json::Value;

use crate::options::Options;
use crate::order::Queueing;
use crate::refusal::Refusal;
use crate::validate::fields::Fields;
use crate::validate::{
    MAX_METADATA, MAX_METADATA_NAME, MAX_METADATA_VALUE, MAX_USER_ID_CHARS, type_name,
};

/// Refuses fields that are set to a value that cannot be honoured: `supported` is empty if no value
/// can be.
pub(in crate::dialects) fn refuse(fields: &mut Fields<'_>, unsupported: &[(&str, &[Value], &str)]) {
    for (name, supported, reason) in unsupported {
        let value = fields.get(name);
        if value.is_some_and(|value| !supported.contains(value)) {
            fields.problem(name, "unsupported_parameter", format!("not supported: {reason}"));
        }
    }
}

/// Reads the model's name, or returns `None` if there is none. Whether it is served is checked when
/// the name is resolved.
///
/// # Errors
/// If the body is no object, or the name is no text.
pub(in crate::dialects) fn model_name(body: &Value) -> Result<Option<&str>, Refusal> {
    let mut fields = Fields::lenient(body).map_err(Refusal::invalid)?;
    let name = fields.get("model").filter(|value| !value.is_null());
    let name = name.map(|value| fields.text("model", value));
    fields.finish(Some(name.flatten())).map_err(Refusal::invalid)
}

/// Reads the model's name where a request must have one.
///
/// # Errors
/// If the body is no object, or names no model.
pub(super) fn required_model(body: &Value) -> Result<&str, Refusal> {
    let mut fields = Fields::lenient(body).map_err(Refusal::invalid)?;
    let value = fields.required("model", "the name of a model, see GET /v1/models");
    let name = value.and_then(|value| fields.text("model", value));
    fields.finish(name).map_err(Refusal::invalid)
}

/// Reads how the model thinks: `reasoning_effort`, or `chat_template_kwargs.enable_thinking`, which
/// takes precedence. `None` leaves it to the model.
pub(super) fn thinking(fields: &mut Fields<'_>, effort: Option<&Value>) -> Option<bool> {
    let kwargs = fields.get("chat_template_kwargs");
    let own = kwargs.and_then(|kwargs| kwargs.get("enable_thinking")).and_then(Value::as_bool);
    if let Some(thinks) = own.or_else(|| fields.boolean("enable_thinking")) {
        return Some(thinks);
    }
    match effort.filter(|effort| !effort.is_null())?.as_str() {
        Some("none" | "minimal") => Some(false),
        Some("low" | "medium" | "high" | "xhigh" | "max") => Some(true),
        _ => {
            let message = "must be none, minimal, low, medium, high or xhigh";
            fields.problem("reasoning_effort", "enum", message);
            None
        }
    }
}

/// Reads whether the answer may have several calls, as it may by default.
pub(super) fn parallel_tool_calls(fields: &mut Fields<'_>) -> bool {
    fields.boolean("parallel_tool_calls").unwrap_or(true)
}

/// Combines what a request says about the form of its answer, which is always split into parts.
pub(in crate::dialects) fn form(
    fields: &mut Fields<'_>,
    constraint: Option<Constraint>,
    (tools, tool_choice): (Vec<Tool>, ToolChoice),
    one_call: bool,
    enable_thinking: Option<bool>,
) -> AnswerForm {
    if constraint.is_some() && tool_choice.is_call() {
        let message = "must be \"auto\" or \"none\" beside a response format: an answer that keeps \
                       the format calls nothing";
        fields.problem("tool_choice", "value_error", message);
    }
    // An answer that keeps a format calls nothing, so no function is offered then.
    let tools = if constraint.is_some() { Vec::new() } else { tools };
    let one_call = one_call && !tools.is_empty();
    AnswerForm {
        constraint,
        tools,
        tool_choice,
        one_call,
        enable_thinking,
        split: true,
        ..AnswerForm::default()
    }
}

/// Reads the label of the end user.
pub(super) fn user(fields: &mut Fields<'_>) -> Option<String> {
    let label = fields.get("safety_identifier").or_else(|| fields.get("user"))?;
    let label = label.as_str()?;
    Some(label.chars().take(MAX_USER_ID_CHARS).collect())
}

/// Reads the service tier as a priority, and the metadata.
pub(super) fn queueing(fields: &mut Fields<'_>, options: &Options) -> Queueing {
    let lane = match fields.get("service_tier").and_then(Value::as_str) {
        Some("flex") => Some(Lane::Low),
        Some("priority") => Some(Lane::High),
        _ => None,
    };
    Queueing {
        lane,
        start: Start::Now,
        expires_in: None,
        metadata: metadata(fields),
        result_ttl_s: options.result_ttl_s,
        time_limit_s: options.task_time_limit_s,
        max_attempts: options.max_attempts,
        retry_backoff_s: None,
        step: None,
    }
}

/// Reads the metadata.
pub(super) fn metadata(fields: &mut Fields<'_>) -> BTreeMap<String, String> {
    let mut entries = BTreeMap::new();
    let Some(value) = fields.get("metadata") else { return entries };
    let Some(map) = value.as_object() else {
        let message = format!("expected an object of strings, got {}", type_name(value));
        fields.problem("metadata", "dict_type", message);
        return entries;
    };
    let fits = |text: &str, most: usize| text.chars().count() <= most;
    for (name, value) in map {
        let text = value.as_str().filter(|text| fits(text, MAX_METADATA_VALUE));
        match text.filter(|_| !name.is_empty() && fits(name, MAX_METADATA_NAME)) {
            Some(text) if entries.len() < MAX_METADATA => {
                entries.insert(name.clone(), text.to_owned());
            }
            _ => {
                let message = format!(
                    "at most {MAX_METADATA} entries: names of 1 to {MAX_METADATA_NAME} characters, \
                     values that are strings of at most {MAX_METADATA_VALUE}"
                );
                fields.problem("metadata", "value_error", message);
                return entries;
            }
        }
    }
    entries
}
