//! Reads the body of a response.

use protocol::{Message, ModelId, Prompt, Role, TaskKind, Timestamp, WebhookForm};
use serde_json::{Map, Value, json};

use super::super::request::messages::text_bytes;
use super::super::request::tools::{self, Nesting, is_skipped};
use super::super::request::{self, sampling};
use super::items;
use super::reply::{Echo, SAMPLING};
use super::stored::Stored;
use crate::options::Options;
use crate::order::Order;
use crate::validate::fields::Fields;
use crate::validate::images::ImageReader;
use crate::validate::{FieldError, webhook};

/// The value of `include` that asks for logprobs.
const LOGPROBS: &str = "message.output_text.logprobs";

/// A request for a response.
pub(super) struct ResponseRequest {
    pub(super) order: Order,
    /// Whether the response is streamed.
    pub(super) stream: bool,
    /// Whether it can be fetched later.
    pub(super) is_stored: bool,
    pub(super) stored: Stored,
}

impl ResponseRequest {
    /// Reads a body whose model is already resolved. `earlier` are the items of the conversation
    /// that the request continues.
    ///
    /// # Errors
    /// If the body is invalid. Returns all problems at once.
    pub(super) fn read(
        body: &Value,
        model: ModelId,
        earlier: Vec<Value>,
        options: &Options,
    ) -> Result<Self, Vec<FieldError>> {
        let mut fields = Fields::lenient(body)?;
        let mut images = ImageReader::new(options.images);
        let items = input(&mut fields, &mut images, body, model.as_str(), earlier);
        let messages = messages(&mut fields, &mut images, &items, options.max_prompt_bytes);
        let (images, pixels) = images.finish(&mut fields);
        let logprobs = logprobs(&mut fields);
        let most = options.max_new_tokens;
        let sampled = sampling::read(&mut fields, &["max_output_tokens"], most, logprobs);
        let constraint = {
            let format = fields.get("text").and_then(|text| text.get("format"));
            tools::format(&mut fields, &["text", "format"], format, Nesting::Flat)
        };
        let tools = tools::read(&mut fields, Nesting::Flat);
        let effort = fields.get("reasoning").and_then(|reasoning| reasoning.get("effort"));
        let thinking = request::thinking(&mut fields, effort);
        let parallel_tool_calls = request::parallel_tool_calls(&mut fields);
        let form = request::form(&mut fields, constraint, tools, !parallel_tool_calls, thinking);
        let stream = fields.boolean("stream").unwrap_or(false);
        let is_stored = fields.boolean("store").unwrap_or(true);
        let background = fields.boolean("background").unwrap_or(false);
        if background && !is_stored {
            let message = "needs \"store\": true: nothing else keeps the response";
            fields.problem("background", "value_error", message);
        }
        let truncation = [json!("disabled"), json!("auto")];
        request::refuse(
            &mut fields,
            &[
                ("conversation", &[], "use previous_response_id"),
                ("prompt", &[], "there are no stored prompts"),
                ("truncation", &truncation, "disabled and auto are"),
            ],
        );
        let queueing = request::queueing(&mut fields, options);
        let webhook = {
            let (field, form) = (webhook::FIELD, WebhookForm::Response);
            webhook::read(&mut fields, field, form, options.guard())
        };
        let order = Order {
            skill: None,
            kind: TaskKind::Generate,
            n: 1,
            prompt: Prompt::Chat(messages),
            images,
            pixels,
            max_tokens: sampled.max_tokens,
            stop: sampled.stop,
            sampling: sampled.sampling,
            form,
            user_id: request::user(&mut fields),
            webhook,
            queueing,
            model,
        };
        let unset = SAMPLING.iter().filter(|(name, _)| fields.get(name).is_none());
        let echo = Echo {
            created_at: Timestamp::now().as_millis() / 1000,
            background,
            parallel_tool_calls,
            unset: unset.map(|(name, _)| (*name).to_owned()).collect(),
            fields: repeated(&fields, &order.model, is_stored),
        };
        let stored = Stored { echo, items };
        fields.finish(Some(Self { order, stream, is_stored, stored }))
    }
}

/// Reads the input, after the `earlier` items. A body without any input is accepted only if it has
/// nothing else either.
fn input(
    fields: &mut Fields<'_>,
    images: &mut ImageReader,
    body: &Value,
    model: &str,
    earlier: Vec<Value>,
) -> Vec<Value> {
    let is_bare = body.as_object().is_some_and(|body| body.keys().all(|name| name == "stream"));
    if is_bare {
        return vec![items::user("")];
    }
    fields.required("model", "the name of a model");
    let mut items = earlier;
    if let Some(input) = fields.required("input", "a string or an array of items") {
        items.extend(items::read(fields, images, input, model));
    }
    items
}

/// Converts the instructions and the items to messages, with those of the system at the front.
fn messages(
    fields: &mut Fields<'_>,
    images: &mut ImageReader,
    items: &[Value],
    max_bytes: usize,
) -> Vec<Message> {
    let instructions = fields.get("instructions");
    let instructions = instructions.and_then(|text| fields.text("instructions", text));
    let instructions = instructions.filter(|text| !text.is_empty());
    let instructions = instructions.map(|text| Message::new(Role::System, text));
    let messages: Vec<Message> =
        instructions.into_iter().chain(items::messages(items, images)).collect();
    let bytes: usize = messages.iter().map(text_bytes).sum();
    if bytes > max_bytes {
        let message = format!(
            "instructions and items together may have {max_bytes} bytes of UTF-8, have {bytes}"
        );
        fields.problem("input", "string_too_long", message);
    }
    if messages.is_empty() {
        let message = "expected a string or an array of items, at least one";
        fields.problem("input", "list_type", message);
    }
    Message::system_first(messages)
}

/// Reads the number of alternatives per token, if logprobs are requested.
fn logprobs(fields: &mut Fields<'_>) -> Option<u32> {
    let most = u64::from(protocol::Sampling::MAX_TOP_LOGPROBS);
    let top = fields.integer("top_logprobs", 0..=most).unwrap_or(0);
    let include = fields.get("include").and_then(Value::as_array);
    let is_included = include.is_some_and(|include| include.iter().any(|name| name == LOGPROBS));
    (is_included || top > 0).then(|| u32::try_from(top).unwrap_or(u32::MAX))
}

/// Returns the fields that a response repeats, with the defaults of those that were not given.
fn repeated(fields: &Fields<'_>, model: &ModelId, is_stored: bool) -> Map<String, Value> {
    let given = |name: &str| fields.get(name).cloned();
    let or = |name: &str, default: Value| given(name).unwrap_or(default);
    let or_null = |name: &str| or(name, Value::Null);
    let tools = fields.get("tools").and_then(Value::as_array);
    let offered =
        |tools: &Vec<Value>| tools.iter().filter(|one| !is_skipped(one)).map(tool).collect();
    let tools = tools.map(offered);
    let service_tier = fields.get("service_tier").and_then(Value::as_str);
    let service_tier = service_tier.filter(|tier| ["flex", "priority"].contains(tier));
    let text = fields.get("text");
    let reasoning = fields.get("reasoning");
    let effort = reasoning.and_then(|reasoning| reasoning.get("effort"));
    let summary = reasoning.and_then(|reasoning| reasoning.get("summary"));
    let verbosity = text.and_then(|text| text.get("verbosity")).and_then(Value::as_str);
    let mut repeated = json!({
        "model": model,
        "instructions": or_null("instructions"),
        "previous_response_id": or_null("previous_response_id"),
        "max_output_tokens": or_null("max_output_tokens"),
        "max_tool_calls": or_null("max_tool_calls"),
        "metadata": or("metadata", json!({})),
        "prompt_cache_key": or_null("prompt_cache_key"),
        "safety_identifier": or_null("safety_identifier"),
        "user": or_null("user"),
        "reasoning": {"effort": effort, "summary": summary},
        "service_tier": service_tier.unwrap_or("default"),
        "store": is_stored,
        "text": {
            "format": format(text.and_then(|text| text.get("format"))),
            "verbosity": verbosity.unwrap_or("medium"),
        },
        "tool_choice": or("tool_choice", json!("auto")),
        "tools": Value::Array(tools.unwrap_or_default()),
        "top_logprobs": or("top_logprobs", json!(0)),
        "truncation": or("truncation", json!("disabled")),
    });
    for (name, default) in SAMPLING {
        repeated[name] = or(name, json!(default));
    }
    match repeated {
        Value::Object(repeated) => repeated,
        _ => Map::new(),
    }
}

/// Formats a function as a response has it.
fn tool(tool: &Value) -> Value {
    let field = |name: &str| tool.get(name).cloned().unwrap_or_default();
    json!({
        "type": "function",
        "name": field("name"),
        "description": field("description"),
        "parameters": field("parameters"),
        "strict": field("strict"),
    })
}

/// Formats the format of the text as a response has it.
fn format(format: Option<&Value>) -> Value {
    let Some(format) = format.filter(|format| !format.is_null()) else {
        return json!({"type": "text"});
    };
    if format["type"] != "json_schema" {
        return format.clone();
    }
    let mut format = format.clone();
    for (name, default) in
        [("name", json!("schema")), ("description", Value::Null), ("strict", json!(false))]
    {
        if format[name].is_null() {
            format[name] = default;
        }
    }
    format
}
