//! Validates bodies of `POST /generate`.

use protocol::{
    AnswerForm, Message, ModelId, Part, Prompt, Role, TaskKind, ToolChoice, VisualKind, WebhookForm,
};
use serde_json::Value;

use super::fields::Fields;
use super::form::Picture;
use super::images::ImageReader;
use super::{FieldError, Limits, chat, constraint, echo, messages, queueing, sampling, webhook};
use crate::order::Order;

/// Maximum length of a `user_id`, in characters.
pub(crate) const MAX_USER_ID_CHARS: usize = 256;

/// The fields that this module reads itself; the others belong to [`sampling`], [`queueing`] and
/// their siblings.
const KNOWN: [&str; 10] = [
    "prompt",
    "messages",
    "images",
    "videos",
    "model",
    "raw",
    "user_id",
    "webhook_url",
    "min_pixels",
    "max_pixels",
];
/// The fields of a message.
const OF_MESSAGE: [&str; 9] = [
    "role",
    "content",
    "name",
    "reasoning_content",
    "reasoning",
    "tool_calls",
    "tool_call_id",
    "image",
    "images",
];
/// The token of a prompt that takes the place of an image.
const PAD: &str = "<|image_pad|>";

/// Validates a body of `POST /generate`.
///
/// # Errors
/// If the body is invalid. Returns all problems at once.
pub fn generate(body: &Value, limits: &Limits<'_>) -> Result<Order, Vec<FieldError>> {
    generate_with(body, Vec::new(), limits)
}

/// Validates the fields of a form, as [`generate`] does, with its images.
///
/// # Errors
/// If something is invalid. Returns all problems at once.
pub(crate) fn generate_with(
    body: &Value,
    given: Vec<Picture>,
    limits: &Limits<'_>,
) -> Result<Order, Vec<FieldError>> {
    let known: Vec<&str> = KNOWN
        .into_iter()
        .chain(sampling::known())
        .chain(constraint::KNOWN)
        .chain(chat::KNOWN)
        .chain(queueing::KNOWN)
        .collect();
    let mut fields = Fields::new(body, &known)?;

    let raw = fields.boolean("raw").unwrap_or(false);
    let mut images = ImageReader::new(limits.images);
    let prompt = match fields.get("messages") {
        Some(messages) => conversation(&mut fields, messages, raw, limits, &mut images),
        None => {
            let text = prompt(&mut fields, limits.max_prompt_bytes);
            let pictures = pictures(&mut fields, &mut images, given);
            text.map(|text| with_images(&mut fields, text, raw, pictures))
        }
    };
    let (images, pixels) = images.finish(&mut fields);
    let sampled = sampling::read(&mut fields, limits.max_new_tokens);
    let constraint = constraint::read(&mut fields);
    let chat = chat::read(&mut fields, raw, constraint.is_some());
    let model = model(&mut fields, limits);
    let user_id = fields.short_text("user_id", MAX_USER_ID_CHARS);
    let webhook = webhook::read(&mut fields, webhook::FIELD, WebhookForm::Task, limits.webhooks);
    let queueing = queueing::read(&mut fields, limits);

    let request = prompt.zip(model).map(|(prompt, model)| Order {
        skill: None,
        kind: TaskKind::Generate,
        n: 1,
        prompt,
        images,
        pixels,
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
    images: &mut ImageReader,
) -> Option<Prompt> {
    for other in ["prompt", "raw", "images", "videos"] {
        if fields.get(other).is_some() && (other != "raw" || raw) {
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
    let messages = messages::read(fields, images, named, limits.max_prompt_bytes);
    Some(Prompt::Chat(messages))
}

/// Reads `images` and `videos`, which belong to a `prompt`, and those of a form.
fn pictures(fields: &mut Fields<'_>, images: &mut ImageReader, given: Vec<Picture>) -> Vec<Part> {
    let named = [(VisualKind::Image, "images"), (VisualKind::Video, "videos")];
    let named = named.map(|(kind, name)| images.field(kind, name, fields.get(name)));
    let given = given.into_iter().map(|picture| images.picture(picture).map(|part| vec![part]));
    let read: Vec<_> = named.into_iter().chain(given).collect();
    let mut parts = Vec::new();
    for read in read {
        match read {
            Ok(read) => parts.extend(read),
            Err(problem) => fields.problem_within(&problem.path, problem.kind, problem.message),
        }
    }
    parts
}

/// Combines a text and its images: the images come first, or, in a raw prompt, where its pads are.
fn with_images(fields: &mut Fields<'_>, text: &str, raw: bool, images: Vec<Part>) -> Prompt {
    if !raw {
        let text = Part::Text { text: text.to_owned() };
        let parts = images.into_iter().chain([text]).collect();
        return Prompt::Chat(vec![Message { role: Role::User, parts, name: None }]);
    }
    if images.iter().any(|part| matches!(part, Part::Video { .. })) {
        fields.problem("videos", "value_error", "a raw prompt has no videos: send messages");
        return Prompt::Raw(text.to_owned());
    }
    let (pads, count) = (text.matches(PAD).count(), images.len());
    if count > 0 && pads != count {
        let message = format!(
            "a raw prompt has one {PAD} for each image, where it belongs: it has {pads}, and there are \
             {count} images"
        );
        fields.problem("images", "value_error", message);
    }
    match count {
        0 => Prompt::Raw(text.to_owned()),
        _ => Prompt::RawImages {
            text: text.to_owned(),
            images: images.iter().filter_map(Part::image).map(str::to_owned).collect(),
        },
    }
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
