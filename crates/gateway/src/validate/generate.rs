//! Validates bodies of `POST /generate`.

use protocol::{AnswerForm, ModelId, Prompt, TaskKind, ToolChoice, WebhookForm};
use serde_json::Value;

use super::fields::Fields;
use super::{FieldError, Limits, chat, constraint, echo, messages, queueing, sampling, webhook};
use crate::order::Order;

/// Maximum length of a `user_id`, in characters.
pub(crate) const MAX_USER_ID_CHARS: usize = 256;

/// The fields that this module reads itself; the others belong to [`sampling`], [`queueing`] and
/// their siblings.
const KNOWN: [&str; 6] = ["prompt", "messages", "model", "raw", "user_id", "webhook_url"];
/// The fields of a message.
const OF_MESSAGE: [&str; 7] =
    ["role", "content", "name", "reasoning_content", "reasoning", "tool_calls", "tool_call_id"];

/// Validates a body of `POST /generate`.
///
/// # Errors
/// If the body is invalid. Returns all problems at once.
pub fn generate(body: &Value, limits: &Limits<'_>) -> Result<Order, Vec<FieldError>> {
    let known: Vec<&str> = KNOWN
        .into_iter()
        .chain(sampling::known())
        .chain(constraint::KNOWN)
        .chain(chat::KNOWN)
        .chain(queueing::KNOWN)
        .collect();
    let mut fields = Fields::new(body, &known)?;

    let raw = fields.boolean("raw").unwrap_or(false);
    let prompt = match fields.get("messages") {
        Some(messages) => conversation(&mut fields, messages, raw, limits),
        None => {
            let text = prompt(&mut fields, limits.max_prompt_bytes);
            text.map(|text| if raw { Prompt::Raw(text.to_owned()) } else { Prompt::user(text) })
        }
    };
    let sampled = sampling::read(&mut fields, limits.max_new_tokens);
    let constraint = constraint::read(&mut fields);
    let chat = chat::read(&mut fields, raw, constraint.is_some());
    let model = model(&mut fields, limits);
    let user_id = fields.short_text("user_id", MAX_USER_ID_CHARS);
    let webhook = webhook::read(&mut fields, webhook::FIELD, WebhookForm::Task, limits.webhooks);
    let queueing = queueing::read(&mut fields, limits);

    let request = prompt.zip(model).map(|(prompt, model)| Order {
        kind: TaskKind::Generate,
        n: 1,
        prompt,
        max_tokens: sampled.max_tokens,
        stop: sampled.stop,
        sampling: sampled.sampling,
        form: AnswerForm {
            split: chat.thinking.is_some()
                || !chat.tools.is_empty()
                || chat.choice == ToolChoice::None,
            constraint,
            tools: chat.tools,
            tool_choice: chat.choice,
            enable_thinking: chat.thinking,
            ..AnswerForm::default()
        },
        model,
        user_id,
        webhook,
        queueing,
    });
    fields.finish(request)
}

/// Returns the model that a body names, even if the rest of the body is invalid.
pub(crate) fn named_model(body: &Value) -> Option<&str> {
    body.get("model").and_then(Value::as_str)
}

/// Reads `messages`, which take the place of `prompt`.
fn conversation(
    fields: &mut Fields<'_>,
    value: &Value,
    raw: bool,
    limits: &Limits<'_>,
) -> Option<Prompt> {
    for other in ["prompt", "raw"] {
        if fields.get(other).is_some() && (other == "prompt" || raw) {
            fields.problem(other, "value_error", "not together with messages");
        }
    }
    for (index, message) in value.as_array().into_iter().flatten().enumerate() {
        let names = message.as_object().into_iter().flat_map(|message| message.keys());
        if let Some(unknown) = names.into_iter().find(|name| !OF_MESSAGE.contains(&name.as_str())) {
            let message =
                format!("a message has no '{}'. Allowed: {}", echo(unknown), OF_MESSAGE.join(", "));
            fields.problem_at("messages", index, "extra_forbidden", message);
        }
    }
    let named = value_of_model(fields).unwrap_or(limits.default_model.as_str());
    let messages = messages::read(fields, named, limits.max_prompt_bytes);
    Some(Prompt::Chat(messages))
}

fn value_of_model<'a>(fields: &Fields<'a>) -> Option<&'a str> {
    fields.get("model").and_then(Value::as_str)
}

fn prompt<'a>(fields: &mut Fields<'a>, max_bytes: usize) -> Option<&'a str> {
    let value = fields.required("prompt", "a string that is not empty")?;
    let text = fields.text("prompt", value)?;
    if text.trim().is_empty() {
        let got = if text.is_empty() { "is empty" } else { "is only whitespace" };
        let message = format!("the prompt {got}: at least one visible character is needed");
        fields.problem("prompt", "string_too_short", message);
        return None;
    }
    if text.len() > max_bytes {
        let message = format!("must have at most {max_bytes} bytes of UTF-8, has {}", text.len());
        fields.problem("prompt", "string_too_long", message);
        return None;
    }
    Some(text)
}

fn model(fields: &mut Fields<'_>, limits: &Limits<'_>) -> Option<ModelId> {
    let Some(value) = fields.get("model") else {
        return Some(limits.default_model.clone());
    };
    let name = fields.text("model", value)?;
    let allowed = || std::iter::once(limits.default_model).chain(limits.other_models);
    if let Some(model) = allowed().find(|model| model.as_str() == name) {
        return Some(model.clone());
    }
    let list: Vec<&str> = allowed().map(ModelId::as_str).collect();
    let message = format!(
        "unknown model '{}': no worker serves it. Available: {}",
        echo(name),
        list.join(", ")
    );
    fields.problem("model", super::UNKNOWN_MODEL, message);
    None
}

#[cfg(test)]
mod tests;
