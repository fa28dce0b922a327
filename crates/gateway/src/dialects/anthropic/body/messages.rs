//! Reads `system` and `messages`.

use protocol::{Message, Part, Prompt, Role};
use serde_json::Value;

use super::content::{self, Block, Problem};
use crate::dialects::openai::request::messages::check_size;
use crate::validate::fields::Fields;
use crate::validate::images::{self, ImageReader};
use crate::validate::{Loc, echo, type_name};

/// The field with the messages.
const FIELD: &str = "messages";
/// The beginning of a block that some clients put before their instructions. It differs between sessions,
/// so that the model's prefix cache would never match.
const BILLING: &str = "x-anthropic-billing-header:";

/// Reads the messages, with the system's at the front. If the last one is the assistant's, the answer continues it.
/// `model` is named if a block needs another one.
pub(super) fn read(
    fields: &mut Fields<'_>,
    images: &mut ImageReader,
    model: &str,
    max_bytes: usize,
) -> Prompt {
    let mut messages: Vec<Message> = match system(fields, images, model) {
        Ok(system) => system.into_iter().collect(),
        Err(problem) => {
            fields.problem_within(&problem.path, problem.kind, problem.message);
            Vec::new()
        }
    };
    let Some(value) = fields.required(FIELD, "an array of messages, at least one") else {
        return Prompt::Chat(messages);
    };
    let Some(list) = value.as_array().filter(|list| !list.is_empty()) else {
        let got = if value.is_array() { "an empty one" } else { type_name(value) };
        let message = format!("expected an array of messages, at least one, got {got}");
        fields.problem(FIELD, "list_type", message);
        return Prompt::Chat(messages);
    };
    for (index, value) in list.iter().enumerate() {
        let mut path: Vec<Loc> = vec![FIELD.into(), index.into()];
        let mark = images.mark();
        let read = turn(value, images, model);
        images.place(mark, &path);
        match read {
            Ok(turn) => messages.extend(turn),
            Err(problem) => {
                path.extend(problem.path);
                fields.problem_within(&path, problem.kind, problem.message);
            }
        }
    }
    check_size(fields, &messages, max_bytes);
    let is_continued = messages.last().is_some_and(Message::can_be_continued);
    let messages = Message::system_first(messages);
    if is_continued { Prompt::Continued(messages) } else { Prompt::Chat(messages) }
}

/// Reads `system`.
fn system(
    fields: &Fields<'_>,
    images: &mut ImageReader,
    model: &str,
) -> Result<Option<Message>, Problem> {
    let Some(value) = fields.get("system") else { return Ok(None) };
    let mut texts = content::texts("system", value, images, model)?;
    if value.is_array() && texts.first().is_some_and(|text| text.starts_with(BILLING)) {
        texts.remove(0);
    }
    let text = texts.join("\n\n");
    Ok((!text.is_empty()).then(|| Message::new(Role::System, text)))
}

/// Reads an element of `messages`: several messages if it has results of calls, which are messages
/// of their own for chat templates.
fn turn(value: &Value, images: &mut ImageReader, model: &str) -> Result<Vec<Message>, Problem> {
    let Some(map) = value.as_object() else {
        let message = format!("expected a message, an object, got {}", type_name(value));
        return Err(Problem::new(vec![], "dict_type", message));
    };
    let role = match map.get("role").and_then(Value::as_str) {
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("system") => Role::System,
        other => {
            let given = other.map(|other| format!(", is '{}'", echo(other))).unwrap_or_default();
            let message = format!("must be user, assistant or system{given}");
            return Err(Problem::new(vec!["role".into()], "enum", message));
        }
    };
    let Some(value) = map.get("content").filter(|value| !value.is_null()) else {
        let message = "this field is required: a string or an array of blocks";
        return Err(Problem::new(vec!["content".into()], "missing", message));
    };
    match role {
        Role::System => {
            let texts = content::texts("content", value, images, model)?;
            Ok(vec![Message::new(role, texts.join("\n\n"))])
        }
        Role::Assistant => Ok(vec![assistant(content::read("content", value, images, model)?)?]),
        Role::User | Role::Tool => user(content::read("content", value, images, model)?),
    }
}

fn assistant(blocks: Vec<Block<'_>>) -> Result<Message, Problem> {
    let (mut thoughts, mut texts, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    for (index, block) in blocks.into_iter().enumerate() {
        match block {
            Block::Text(text) => texts.push(text),
            Block::Thinking(text) => thoughts.push(text),
            Block::Redacted => {}
            Block::Call(call) => calls.push(Part::ToolCall { call }),
            Block::CallResult { .. } => return Err(misplaced(index, "tool_result", "user")),
            Block::Image(_) => return Err(misplaced(index, "image", "user")),
        }
    }
    let mut parts = Vec::with_capacity(calls.len() + 2);
    if !thoughts.is_empty() {
        parts.push(Part::Reasoning { text: thoughts.join("\n") });
    }
    parts.push(Part::Text { text: texts.join("\n") });
    parts.extend(calls);
    Ok(Message { role: Role::Assistant, parts, name: None })
}

fn user(blocks: Vec<Block<'_>>) -> Result<Vec<Message>, Problem> {
    let (mut messages, mut parts) = (Vec::new(), Vec::new());
    for (index, block) in blocks.into_iter().enumerate() {
        match block {
            Block::Text(text) => parts.push(Part::Text { text: text.to_owned() }),
            Block::Image(image) => parts.push(image),
            Block::CallResult { call_id, content } => {
                flush(&mut parts, &mut messages);
                let parts = images::result_parts(call_id, content);
                messages.push(Message { role: Role::Tool, parts, name: None });
            }
            Block::Call(_) => return Err(misplaced(index, "tool_use", "assistant")),
            Block::Thinking(_) | Block::Redacted => {
                return Err(misplaced(index, "thinking", "assistant"));
            }
        }
    }
    flush(&mut parts, &mut messages);
    if messages.is_empty() {
        messages.push(Message::user(""));
    }
    Ok(messages)
}

/// Adds the texts and images as a message of the user's, if there are any.
fn flush(parts: &mut Vec<Part>, messages: &mut Vec<Message>) {
    if !parts.is_empty() {
        let parts = images::join_texts(parts.drain(..));
        messages.push(Message { role: Role::User, parts, name: None });
    }
}

fn misplaced(index: usize, kind: &str, role: &str) -> Problem {
    let path = vec!["content".into(), index.into(), "type".into()];
    let message = format!("a block of type {kind} belongs into a message of the role {role}");
    Problem::new(path, "literal_error", message)
}
