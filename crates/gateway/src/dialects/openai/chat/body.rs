//! Reads the body of a chat completion.

use protocol::{ModelId, Prompt, Task, TaskKind};
use serde_json::{Map, Value, json};

use super::super::request::tools::{self, Nesting};
use super::super::request::{self, messages, sampling};
use crate::options::Options;
use crate::order::Order;
use crate::validate::FieldError;
use crate::validate::fields::Fields;
use crate::validate::images::ImageReader;

/// The names of the limit on the answer's length.
const LENGTHS: [&str; 2] = ["max_completion_tokens", "max_tokens"];

/// A request for a chat completion.
pub(in crate::dialects) struct ChatRequest {
    pub(in crate::dialects) order: Order,
    /// The skill that writes the prompt, with the values of its fields.
    pub(in crate::dialects) skill: Option<(String, Map<String, Value>)>,
    /// Whether the request sets the length of the answer.
    pub(super) sets_length: bool,
    /// Whether the answer is streamed.
    pub(super) stream: bool,
    /// Whether the stream ends with the usage.
    pub(super) include_usage: bool,
}

impl ChatRequest {
    /// Reads a body whose model is already resolved.
    ///
    /// # Errors
    /// If the body is invalid. Returns all problems at once.
    pub(in crate::dialects) fn read(
        body: &Value,
        model: ModelId,
        options: &Options,
    ) -> Result<Self, Vec<FieldError>> {
        let mut fields = Fields::lenient(body)?;
        let mut images = ImageReader::new(options.images);
        let prompt = prompt(&mut fields, &mut images, model.as_str(), options.max_prompt_bytes);
        let (images, pixels) = images.finish(&mut fields);
        let logprobs = sampling::chat_logprobs(&mut fields);
        let sampled = sampling::read(&mut fields, &LENGTHS, options.max_new_tokens, logprobs);
        let constraint = {
            let format = fields.get("response_format");
            tools::format(&mut fields, &["response_format"], format, Nesting::Function)
        };
        let tools = tools::read(&mut fields, Nesting::Function);
        let effort = fields.get("reasoning_effort");
        let thinking = request::thinking(&mut fields, effort);
        let one_call = !request::parallel_tool_calls(&mut fields);
        let form = request::form(&mut fields, constraint, tools, one_call, thinking);
        if form.constraint.is_some() && matches!(prompt, Prompt::Continued(_)) {
            let message =
                "can't be combined with a response format, which applies to the answer alone";
            fields.problem("continue_final_message", "value_error", message);
        }
        let n = fields.integer("n", 1..=u64::from(Task::MAX_N)).unwrap_or(1);
        let n = u8::try_from(n).unwrap_or(Task::MAX_N);
        let stream = fields.boolean("stream").unwrap_or(false);
        let include_usage = fields.get("stream_options");
        let include_usage = include_usage.and_then(|options| options.get("include_usage"));
        let text = [json!(["text"])];
        request::refuse(
            &mut fields,
            &[
                ("modalities", &text, "answers are text"),
                ("audio", &[], "answers are text"),
                ("functions", &[], "use tools"),
                ("function_call", &[], "use tool_choice"),
                ("web_search_options", &[], "the model has no access to the web"),
            ],
        );
        let order = Order {
            skill: None,
            kind: TaskKind::Generate,
            n,
            prompt,
            images,
            pixels,
            max_tokens: sampled.max_tokens,
            stop: sampled.stop,
            sampling: sampled.sampling,
            form,
            model,
            user_id: request::user(&mut fields),
            webhook: None,
            queueing: request::queueing(&mut fields, options),
        };
        let include_usage = include_usage.and_then(Value::as_bool).unwrap_or(false);
        let sets_length = LENGTHS.iter().any(|name| fields.get(name).is_some());
        let skill = skill(&mut fields);
        fields.finish(Some(Self { order, skill, sets_length, stream, include_usage }))
    }
}

/// Reads the messages. With `continue_final_message`, which vLLM and transformers have, the answer continues the
/// last one.
fn prompt(
    fields: &mut Fields<'_>,
    images: &mut ImageReader,
    model: &str,
    max_bytes: usize,
) -> Prompt {
    let continues = fields.boolean("continue_final_message").unwrap_or(false);
    let messages = messages::read(fields, images, model, max_bytes);
    if continues && messages.last().is_some_and(|last| !last.can_be_continued()) {
        let message = "needs a last message of the role assistant, without calls";
        fields.problem("continue_final_message", "value_error", message);
    }
    if fields.boolean("add_generation_prompt").is_some_and(|opens| opens == continues) {
        let message = "must be the opposite of continue_final_message: an answer begins a turn or continues a \
                       message";
        fields.problem("add_generation_prompt", "value_error", message);
    }
    if continues { Prompt::Continued(messages) } else { Prompt::Chat(messages) }
}

/// Reads the skill: its name, or an object with its name and the values of its fields.
fn skill(fields: &mut Fields<'_>) -> Option<(String, Map<String, Value>)> {
    let value = fields.get("skill").filter(|value| !value.is_null())?;
    let named = match value {
        Value::String(name) => Some((name.clone(), Map::new())),
        Value::Object(all) => {
            let mut values = all.clone();
            match values.shift_remove("name") {
                Some(Value::String(name)) => Some((name, values)),
                _ => None,
            }
        }
        _ => None,
    };
    if named.is_none() {
        let message = "expected the name of a skill, or an object with its name and its fields, such as {\"name\": \
                       \"ocr\", \"level\": \"word\"}";
        fields.problem("skill", "value_error", message);
    }
    named
}

#[cfg(test)]
mod tests;
