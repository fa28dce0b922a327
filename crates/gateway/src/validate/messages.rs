//! Reads the messages of a conversation in the form of OpenAI's API, leniently in form: `content` may be missing, null, a string, or an
//! array of parts in every role.

use protocol::{Message, Part, Role, ToolCall};
use serde_json::{Map, Value};

use super::fields::Fields;
use super::images::{self, ImageProblem, ImageReader};
use super::{Loc, echo, type_name};

/// The field with the messages.
const FIELD: &str = "messages";
/// The roles, for messages to people.
const ROLES: &str = "system, developer, user, assistant or tool";

/// Reads `messages`: all of them, with the system's and developer's messages merged to the front.
/// `model` is named if a part needs another one.
pub(crate) fn read(
    fields: &mut Fields<'_>,
    images: &mut ImageReader,
    model: &str,
    max_bytes: usize,
) -> Vec<Message> {
    let Some(value) = fields.required(FIELD, "an array of messages, at least one") else {
        return Vec::new();
    };
    let Some(list) = value.as_array().filter(|list| !list.is_empty()) else {
        let got = if value.is_array() { "an empty one" } else { type_name(value) };
        let message = format!("expected an array of messages, at least one, got {got}");
        fields.problem(FIELD, "list_type", message);
        return Vec::new();
    };
    let mut messages = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        let mut path: Vec<Loc> = vec![FIELD.into(), index.into()];
        let mark = images.mark();
        let read = message(value, images, model);
        images.place(mark, &path);
        match read {
            Ok(message) => messages.push(message),
            Err(problem) => {
                path.extend(problem.path);
                fields.problem_within(&path, problem.kind, problem.message);
            }
        }
    }
    check_size(fields, &messages, max_bytes);
    Message::system_first(messages)
}

/// Refuses messages that have more text than `max_bytes`.
pub(crate) fn check_size(fields: &mut Fields<'_>, messages: &[Message], max_bytes: usize) {
    let bytes: usize = messages.iter().map(text_bytes).sum();
    if bytes > max_bytes {
        let message =
            format!("all messages together may have {max_bytes} bytes of UTF-8, have {bytes}");
        fields.problem(FIELD, "string_too_long", message);
    }
}

/// A problem within a message.
pub(crate) struct Problem {
    path: Vec<Loc>,
    kind: &'static str,
    message: String,
}

impl Problem {
    fn new(path: &[&str], kind: &'static str, message: impl Into<String>) -> Self {
        let path = path.iter().copied().map(Loc::from).collect();
        Self { path, kind, message: message.into() }
    }
}

impl From<ImageProblem> for Problem {
    fn from(problem: ImageProblem) -> Self {
        let ImageProblem { path, kind, message } = problem;
        Self { path, kind, message }
    }
}

fn message(value: &Value, images: &mut ImageReader, model: &str) -> Result<Message, Problem> {
    let Some(map) = value.as_object() else {
        let message = format!("expected a message, an object, got {}", type_name(value));
        return Err(Problem::new(&[], "dict_type", message));
    };
    let role = match map.get("role").and_then(Value::as_str) {
        Some("system" | "developer") => Role::System,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("tool" | "function") => Role::Tool,
        Some(other) => {
            let message = format!("must be {ROLES}, is '{}'", echo(other));
            return Err(Problem::new(&["role"], "enum", message));
        }
        None => return Err(Problem::new(&["role"], "missing", format!("must be {ROLES}"))),
    };
    let mark = images.mark();
    let before = images.fields(map)?;
    let content = content(given(map, "content"), images, model)?;
    let content: Vec<Part> = before.into_iter().chain(content).collect();
    if images.mark() > mark && matches!(role, Role::System | Role::Assistant) {
        return Err(Problem::new(&["content"], "value_error", images::misplaced(role.as_str())));
    }
    let mut parts = Vec::new();
    if role == Role::Assistant {
        let reasoning = given(map, "reasoning_content").or_else(|| given(map, "reasoning"));
        if let Some(text) = reasoning.and_then(Value::as_str).filter(|text| !text.is_empty()) {
            parts.push(Part::Reasoning { text: text.to_owned() });
        }
    }
    match role {
        Role::Tool => {
            let call_id = given(map, "tool_call_id").or_else(|| given(map, "name"));
            let call_id = call_id.and_then(Value::as_str).map(str::to_owned);
            parts.extend(images::result_parts(call_id, content));
        }
        _ => parts.extend(content),
    }
    if role == Role::Assistant {
        parts.extend(calls(given(map, "tool_calls"))?);
    }
    let name = given(map, "name").and_then(Value::as_str).map(str::to_owned);
    Ok(Message { role, parts, name })
}

/// Reads a content: its texts and images in their order, with successive texts joined by a line end. A content without
/// parts is an empty text.
fn content(
    value: Option<&Value>,
    images: &mut ImageReader,
    model: &str,
) -> Result<Vec<Part>, Problem> {
    let text = |text: &str| Part::Text { text: text.to_owned() };
    let given = match value {
        None => return Ok(vec![text("")]),
        Some(Value::String(content)) => return Ok(vec![text(content)]),
        Some(Value::Array(parts)) => parts,
        Some(other) => {
            let message =
                format!("expected a string or an array of parts, got {}", type_name(other));
            return Err(Problem::new(&["content"], "string_type", message));
        }
    };
    let mut parts = Vec::with_capacity(given.len());
    for (index, value) in given.iter().enumerate() {
        let path: [Loc; 2] = ["content".into(), index.into()];
        let mark = images.mark();
        let read = part(value, images, model);
        images.place(mark, &path);
        parts.push(read.map_err(|problem| Problem {
            path: [path.as_slice(), &problem.path].concat(),
            ..problem
        })?);
    }
    let parts = images::join_texts(parts);
    Ok(if parts.is_empty() { vec![text("")] } else { parts })
}

fn part(part: &Value, images: &mut ImageReader, model: &str) -> Result<Part, Problem> {
    const EXPECTED: &str = "expected {\"type\": \"text\", \"text\": …}";
    let problem = |kind, message: String| Problem { path: Vec::new(), kind, message };
    let map = match part {
        Value::String(text) => return Ok(Part::Text { text: text.clone() }),
        Value::Object(map) => map,
        _ => return Err(problem("missing", EXPECTED.to_owned())),
    };
    let text = match map.get("type").and_then(Value::as_str) {
        Some("text" | "input_text" | "output_text") => map.get("text"),
        Some("refusal") => map.get("refusal"),
        Some("image_url" | "input_image" | "image") => return Ok(images.openai_part(map)?),
        Some("video_url" | "input_video" | "video") => return Ok(images.video_part(map)?),
        Some("input_audio" | "audio" | "file" | "input_file") => {
            let message = format!("the model '{model}' takes text, and no audio or files");
            return Err(problem("value_error", message));
        }
        Some(other) => {
            let message = format!("unknown type '{}': {EXPECTED}", echo(other));
            return Err(problem("literal_error", message));
        }
        None => return Err(problem("missing", EXPECTED.to_owned())),
    };
    let text = text.and_then(Value::as_str);
    let text = text.ok_or_else(|| problem("string_type", EXPECTED.to_owned()))?;
    Ok(Part::Text { text: text.to_owned() })
}

fn calls(value: Option<&Value>) -> Result<Vec<Part>, Problem> {
    const EXPECTED: &str = "expected {\"id\": …, \"type\": \"function\", \"function\": {\"name\": …, \
                            \"arguments\": \"{…}\"}}";
    let Some(value) = value else { return Ok(Vec::new()) };
    let Some(list) = value.as_array() else {
        let message = format!("expected an array of calls, got {}", type_name(value));
        return Err(Problem::new(&["tool_calls"], "list_type", message));
    };
    let call = |(index, call): (usize, &Value)| {
        let function = call.get("function");
        let name = function.and_then(|function| function.get("name")).and_then(Value::as_str);
        let Some(name) = name else {
            return Err(Problem {
                path: vec!["tool_calls".into(), index.into()],
                kind: "value_error",
                message: EXPECTED.to_owned(),
            });
        };
        let arguments = function.and_then(|function| function.get("arguments"));
        let id = call.get("id").and_then(Value::as_str).unwrap_or_default();
        Ok(Part::ToolCall { call: call_of(id, name, arguments) })
    };
    list.iter().enumerate().map(call).collect()
}

/// Creates a call from its arguments, which clients send as a string of JSON. Text that is no JSON
/// is passed to the model as it is.
pub(crate) fn call_of(id: &str, name: &str, arguments: Option<&Value>) -> ToolCall {
    let arguments = match arguments {
        None | Some(Value::Null) => Value::Object(Map::new()),
        Some(Value::String(text)) if text.trim().is_empty() => Value::Object(Map::new()),
        Some(Value::String(text)) => {
            serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()))
        }
        Some(other) => other.clone(),
    };
    ToolCall::Function { id: id.to_owned(), name: name.to_owned(), arguments }
}

/// Returns a field, or `None` if it is missing or null.
fn given<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    map.get(name).filter(|value| !value.is_null())
}

/// Returns the length of a message's texts, in bytes.
pub(crate) fn text_bytes(message: &Message) -> usize {
    let length = |part: &Part| match part {
        Part::Text { text } | Part::Reasoning { text } | Part::ToolResult { text, .. } => {
            text.len()
        }
        Part::ToolCall { call } => match call {
            ToolCall::Function { name, arguments, .. } => name.len() + arguments.to_string().len(),
            ToolCall::Malformed { raw, .. } => raw.len(),
        },
        Part::Image { .. } | Part::Video { .. } => 0,
    };
    message.parts.iter().map(length).sum()
}
