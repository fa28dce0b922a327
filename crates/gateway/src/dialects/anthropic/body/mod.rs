//! Reads the body of a request for a message. Unknown fields are ignored, and `null` is the same as
//! absent.

mod content;
mod messages;
mod tools;

use std::collections::BTreeMap;

use protocol::{AnswerForm, Message, ModelId, Part, Prompt, Sampling, TaskKind};
use queue::Start;
use serde_json::{Value, json};

use super::reply::Shown;
use crate::dialects::openai::request::tools::{Nesting, format};
use crate::dialects::openai::request::{form, refuse};
use crate::options::Options;
use crate::order::{Order, Queueing};
use crate::validate::fields::Fields;
use crate::validate::images::ImageReader;
use crate::validate::sampling::{MAX_STOP_BYTES, MAX_STOPS, number};
use crate::validate::{FieldError, MAX_USER_ID_CHARS};

/// A request for a message.
#[derive(Debug)]
pub(super) struct MessagesRequest {
    pub(super) order: Order,
    /// Whether the answer is streamed.
    pub(super) stream: bool,
    /// The parts of the answer that the message shows.
    pub(super) reply: Shown,
}

impl MessagesRequest {
    /// Reads a body whose model is already resolved.
    ///
    /// # Errors
    /// If the body is invalid. Returns all problems at once.
    pub(super) fn read(
        body: &Value,
        model: ModelId,
        options: &Options,
    ) -> Result<Self, Vec<FieldError>> {
        let mut fields = Fields::lenient(body)?;
        let stream = fields.boolean("stream").unwrap_or(false);
        let (order, max_calls) = order(&mut fields, model, max_tokens, options);
        let reply = Shown { max_calls, cached_tokens: asks_for_cache(body) };
        fields.finish(Some(Self { order, stream, reply }))
    }
}

/// Returns whether the body has a `cache_control`, for itself, a tool or a block. Only then do messages of Anthropic's
/// own models count cached tokens apart.
fn asks_for_cache(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(name, value)| match name.as_str() {
            "cache_control" => !value.is_null(),
            "system" | "messages" | "tools" | "content" => asks_for_cache(value),
            _ => false,
        }),
        Value::Array(items) => items.iter().any(asks_for_cache),
        _ => false,
    }
}

/// Reads a body, which needs no `max_tokens`, as an order to count its tokens.
///
/// # Errors
/// If the body is invalid. Returns all problems at once.
pub(super) fn read_to_count(
    body: &Value,
    model: ModelId,
    options: &Options,
) -> Result<Order, Vec<FieldError>> {
    let mut fields = Fields::lenient(body)?;
    let (order, _) = order(&mut fields, model, |_, most| most, options);
    fields.finish(Some(order.into_count()))
}

/// Reads what messages and their counts have in common, and the maximum number of calls in the answer.
fn order(
    fields: &mut Fields<'_>,
    model: ModelId,
    max_tokens: fn(&mut Fields<'_>, u32) -> u32,
    options: &Options,
) -> (Order, usize) {
    let mut images = ImageReader::new(options.images);
    let prompt = messages::read(fields, &mut images, model.as_str(), options.max_prompt_bytes);
    let (images, pixels) = images.finish(fields);
    let max_tokens = max_tokens(fields, options.max_new_tokens);
    let (tools, tool_choice, max_calls) = tools::read(fields);
    let config = fields.get("output_config");
    let constraint = match config.and_then(|config| config.get("format")) {
        Some(value) => format(fields, &["output_config", "format"], Some(value), Nesting::Flat),
        None => {
            let value = fields.get("output_format");
            format(fields, &["output_format"], value, Nesting::Flat)
        }
    };
    let thinking = thinking(fields, config.and_then(|config| config.get("effort")));
    let form = form(fields, constraint, (tools, tool_choice), max_calls == 1, thinking);
    if let Prompt::Continued(messages) = &prompt {
        check_continuation(fields, messages, &form);
    }
    let sampling = sampling(fields);
    let stop = fields.texts("stop_sequences", MAX_STOPS, MAX_STOP_BYTES);
    let none = [json!([])];
    refuse(
        fields,
        &[
            ("mcp_servers", &none, "the model has no access to other servers"),
            ("container", &[], "the model runs no code"),
        ],
    );
    let order = Order {
        skill: None,
        kind: TaskKind::Generate,
        n: 1,
        prompt,
        images,
        pixels,
        max_tokens,
        stop,
        sampling,
        form,
        model,
        user_id: user(fields),
        webhook: None,
        queueing: Queueing {
            lane: None,
            start: Start::Now,
            expires_in: None,
            metadata: BTreeMap::new(),
            result_ttl_s: options.result_ttl_s,
            time_limit_s: options.task_time_limit_s,
            max_attempts: options.max_attempts,
            retry_backoff_s: None,
            step: None,
        },
    };
    (order, max_calls)
}

/// Refuses what an answer that continues the last message can't have.
fn check_continuation(fields: &mut Fields<'_>, messages: &[Message], form: &AnswerForm) {
    let is_reasoning = |part: &Part| matches!(part, Part::Reasoning { .. });
    let has_thought = messages.last().is_some_and(|last| last.parts.iter().any(is_reasoning));
    if form.enable_thinking == Some(true) && !has_thought {
        let message = "can't be enabled if the last message is the assistant's, which the answer \
                       continues: begin it with a thinking block, or leave it out";
        fields.problem("thinking", "value_error", message);
    }
    if form.constraint.is_some() {
        let message = "can't have a format if the last message is the assistant's, which the answer \
                       continues: the format applies to the answer alone";
        fields.problem("output_config", "value_error", message);
    }
}

/// Reads the mandatory limit on the answer's length; one above `most` is lowered to it.
fn max_tokens(fields: &mut Fields<'_>, most: u32) -> u32 {
    if fields.required("max_tokens", "an integer, at least 1").is_none() {
        return most;
    }
    let given = fields.integer("max_tokens", 1..=u64::MAX);
    given.and_then(|tokens| u32::try_from(tokens).ok()).map_or(most, |tokens| tokens.min(most))
}

fn sampling(fields: &mut Fields<'_>) -> Sampling {
    let mut sampling = Sampling::default();
    let known = ["temperature", "top_p", "top_k"];
    for field in Sampling::FIELDS.iter().filter(|field| known.contains(&field.name)) {
        sampling.set(field.name, number(fields, field));
    }
    // Anthropic's range is smaller than ours.
    if let Some(temperature) = sampling.temperature.filter(|temperature| *temperature > 1.0) {
        let message = format!("must be from 0 to 1, got {temperature}");
        fields.problem("temperature", "less_than_equal", message);
    }
    sampling
}

/// Reads whether the model thinks, which it does only if asked to. `None` leaves it to the model.
fn thinking(fields: &mut Fields<'_>, effort: Option<&Value>) -> Option<bool> {
    let effort = effort.filter(|effort| !effort.is_null());
    let name = effort.map(|effort| effort.as_str().unwrap_or_default());
    if !matches!(name, None | Some("low" | "medium" | "high" | "xhigh" | "max")) {
        let path = ["output_config".into(), "effort".into()];
        fields.problem_within(&path, "enum", "must be low, medium, high, xhigh or max");
    }
    let value = fields.get("thinking");
    match value.map(|value| value.get("type").and_then(Value::as_str).unwrap_or_default()) {
        None | Some("disabled") => Some(false),
        Some("enabled") => Some(true),
        Some("adaptive") => (name == Some("low")).then_some(false),
        Some(_) => {
            let message = "expected {\"type\": \"enabled\"}, {\"type\": \"adaptive\"} or {\"type\": \"disabled\"}";
            fields.problem("thinking", "literal_error", message);
            None
        }
    }
}

/// Reads the label of the end user.
fn user(fields: &Fields<'_>) -> Option<String> {
    let label = fields.get("metadata")?.get("user_id")?.as_str()?;
    Some(label.chars().take(MAX_USER_ID_CHARS).collect())
}

#[cfg(test)]
mod tests;
