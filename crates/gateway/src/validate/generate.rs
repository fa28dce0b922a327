//! `POST /generate`: which bodies are tasks.

use protocol::{GenerationParams, ModelId, Prompt, Timestamp, Webhook};
use serde_json::Value;
use webhooks::Guard;

use super::fields::Fields;
use super::queueing::{self, Queueing};
use super::{FieldError, echo, sampling, webhook};

/// How long, in characters, a `user_id` may be.
pub(crate) const MAX_USER_ID_CHARS: usize = 256;

/// The fields, but for those of [`sampling`] and [`queueing`].
const KNOWN: [&str; 5] = ["prompt", "model", "raw", "user_id", "webhook_url"];

/// What the operator allows.
#[derive(Debug, Clone, Copy)]
pub struct Limits<'a> {
    /// How long, in bytes of UTF-8, a prompt may be.
    pub max_prompt_bytes: usize,
    /// How many tokens a task may ask for.
    pub max_new_tokens: u32,
    /// Which model answers when none is named.
    pub default_model: &'a ModelId,
    /// Which other models may be named.
    pub other_models: &'a [ModelId],
    /// How long, in seconds, a task may ask to compute; what it has if it does not ask.
    pub max_time_limit_s: u32,
    /// How long, in seconds, a task may ask to be kept; what it has if it does not ask.
    pub max_result_ttl_s: u32,
    /// Which webhooks are allowed.
    pub webhooks: Guard,
    /// What the clock says.
    pub now: Timestamp,
}

/// What a client asks for, within the limits.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateRequest {
    /// What to answer.
    pub prompt: Prompt,
    /// How to answer.
    pub params: GenerationParams,
    /// Who shall answer.
    pub model: ModelId,
    /// The client's label for its end user.
    pub user_id: Option<String>,
    /// Whom to tell of the end.
    pub webhook: Option<Webhook>,
    /// How urgent, when, until when.
    pub queueing: Queueing,
}

/// Judges a body of `POST /generate`.
///
/// # Errors
/// All its problems at once.
pub fn generate(body: &Value, limits: &Limits<'_>) -> Result<GenerateRequest, Vec<FieldError>> {
    let known: Vec<&str> =
        KNOWN.into_iter().chain(sampling::KNOWN).chain(queueing::KNOWN).collect();
    let mut fields = Fields::new(body, &known)?;

    let prompt = prompt(&mut fields, limits.max_prompt_bytes);
    let raw = fields.boolean("raw").unwrap_or(false);
    let params = sampling::read(&mut fields, limits.max_new_tokens);
    let model = model(&mut fields, limits);
    let user_id = fields.short_text("user_id", MAX_USER_ID_CHARS);
    let webhook = webhook::read(&mut fields, limits.webhooks);
    let queueing = queueing::read(&mut fields, limits);

    let request = prompt.zip(model).map(|(text, model)| GenerateRequest {
        prompt: if raw { Prompt::Raw(text.to_owned()) } else { Prompt::user(text) },
        params,
        model,
        user_id,
        webhook,
        queueing,
    });
    fields.finish(request)
}

/// The model that a body names, be the rest of it as it may.
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
