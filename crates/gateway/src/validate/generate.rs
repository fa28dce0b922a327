//! Validates bodies of `POST /generate`.

use protocol::{AnswerForm, ModelId, Prompt, Sampling, ToolChoice, Webhook};
use serde_json::Value;

use super::fields::Fields;
use super::queueing::{self, Queueing};
use super::{FieldError, Limits, chat, constraint, echo, sampling, webhook};

/// Maximum length of a `user_id`, in characters.
pub(crate) const MAX_USER_ID_CHARS: usize = 256;

/// The fields that this module reads itself; the others belong to [`sampling`], [`queueing`] and
/// their siblings.
const KNOWN: [&str; 5] = ["prompt", "model", "raw", "user_id", "webhook_url"];

/// A validated request.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateRequest {
    /// The prompt.
    pub prompt: Prompt,
    /// The maximum number of generated tokens.
    pub max_tokens: u32,
    /// Texts that stop generation.
    pub stop: Vec<String>,
    /// The sampling parameters that the request sets.
    pub sampling: Sampling,
    /// The form of the answer. Whether its constraint can be enforced is not checked yet.
    pub form: AnswerForm,
    /// The requested model, or the default.
    pub model: ModelId,
    /// The client's label for its end user.
    pub user_id: Option<String>,
    /// The webhook to call when the task ends.
    pub webhook: Option<Webhook>,
    /// Priority, start time, expiry and retention.
    pub queueing: Queueing,
}

/// Validates a body of `POST /generate`.
///
/// # Errors
/// If the body is invalid. Returns all problems at once.
pub fn generate(body: &Value, limits: &Limits<'_>) -> Result<GenerateRequest, Vec<FieldError>> {
    let known: Vec<&str> = KNOWN
        .into_iter()
        .chain(sampling::known())
        .chain(constraint::KNOWN)
        .chain(chat::KNOWN)
        .chain(queueing::KNOWN)
        .collect();
    let mut fields = Fields::new(body, &known)?;

    let prompt = prompt(&mut fields, limits.max_prompt_bytes);
    let raw = fields.boolean("raw").unwrap_or(false);
    let sampled = sampling::read(&mut fields, limits.max_new_tokens);
    let constraint = constraint::read(&mut fields);
    let chat = chat::read(&mut fields, raw, constraint.is_some());
    let model = model(&mut fields, limits);
    let user_id = fields.short_text("user_id", MAX_USER_ID_CHARS);
    let webhook = webhook::read(&mut fields, limits.webhooks);
    let queueing = queueing::read(&mut fields, limits);

    let request = prompt.zip(model).map(|(text, model)| GenerateRequest {
        prompt: if raw { Prompt::Raw(text.to_owned()) } else { Prompt::user(text) },
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
    fields.problem("model", "unknown_model", message);
    None
}

#[cfg(test)]
#[path = "generate_tests.rs"]
mod tests;
