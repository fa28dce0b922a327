//! Input items: messages, calls, results of calls and reasoning. Items are read leniently and kept
//! with the fields that clients may omit, because they are stored, listed and continued.

use protocol::{Message, Part, Role};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::request::messages::call_of;
use crate::validate::fields::Fields;
use crate::validate::images::{self, ImageProblem, ImageReader};
use crate::validate::{Loc, echo, type_name};

/// The field with the items.
const FIELD: &str = "input";
/// The field of a part that has the index of its image, until that is stored.
const PENDING: &str = "pending";

/// A problem within an item.
struct Problem {
    path: Vec<Loc>,
    kind: &'static str,
    message: String,
}

impl Problem {
    fn new(path: &[Loc], kind: &'static str, message: impl Into<String>) -> Self {
        Self { path: path.to_vec(), kind, message: message.into() }
    }
}

/// Reads `input`: a text of the user, or items. `model` is named if a part needs another one.
pub(super) fn read(
    fields: &mut Fields<'_>,
    images: &mut ImageReader,
    input: &Value,
    model: &str,
) -> Vec<Value> {
    let list = match input {
        Value::String(text) => return vec![user(text)],
        Value::Array(list) => list,
        other => {
            let got = type_name(other);
            let message = format!("expected a string or an array of items, got {got}");
            fields.problem(FIELD, "list_type", message);
            return Vec::new();
        }
    };
    let mut items = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        let mut path: Vec<Loc> = vec![FIELD.into(), index.into()];
        let mark = images.mark();
        let read = item(value, images, model);
        images.place(mark, &path);
        match read {
            Ok(item) => items.push(item),
            Err(problem) => {
                path.extend(problem.path);
                fields.problem_within(&path, problem.kind, problem.message);
            }
        }
    }
    items
}

/// Creates a message of the user.
pub(super) fn user(text: &str) -> Value {
    json!({
        "id": new_id("msg"), "type": "message", "status": "completed", "role": "user",
        "content": [{"type": "input_text", "text": text}],
    })
}

fn new_id(prefix: &str) -> String {
    format!("{prefix}_{}", Uuid::now_v7().simple())
}

fn item(value: &Value, images: &mut ImageReader, model: &str) -> Result<Value, Problem> {
    let Some(map) = value.as_object() else {
        let message = format!("expected an item, an object, got {}", type_name(value));
        return Err(Problem::new(&[], "dict_type", message));
    };
    let kind = match map.get("type").and_then(Value::as_str) {
        Some(kind) => kind,
        None if map.contains_key("role") => "message",
        None => {
            let message = "expected an item with a \"type\", or a message with a \"role\"";
            return Err(Problem::new(&["type".into()], "missing", message));
        }
    };
    let mut item = map.clone();
    let prefix = match kind {
        "message" => {
            read_message(&mut item, images, model)?;
            "msg"
        }
        "function_call" => {
            require_text(&item, "name")?;
            require_text(&item, "call_id")?;
            if !item.get("arguments").is_some_and(Value::is_string) {
                let arguments = item.get("arguments").filter(|arguments| !arguments.is_null());
                let text = arguments.map_or_else(|| "{}".to_owned(), Value::to_string);
                item.insert("arguments".into(), text.into());
            }
            "fc"
        }
        "function_call_output" => {
            require_text(&item, "call_id")?;
            read_parts("output", item.get_mut("output"), Some(images), model)?;
            "fco"
        }
        "reasoning" => {
            fill(&mut item, "summary", || json!([]));
            "rs"
        }
        other => {
            let message = format!(
                "items of type '{}' are not supported: send message, function_call, \
                 function_call_output or reasoning",
                echo(other)
            );
            return Err(Problem::new(&["type".into()], "unsupported_parameter", message));
        }
    };
    let kind = kind.to_owned();
    fill(&mut item, "id", || new_id(prefix).into());
    fill(&mut item, "type", || kind.into());
    fill(&mut item, "status", || "completed".into());
    Ok(Value::Object(item))
}

/// Sets a field that is missing or null.
fn fill(item: &mut Map<String, Value>, name: &str, value: impl FnOnce() -> Value) {
    if item.get(name).is_none_or(Value::is_null) {
        item.insert(name.to_owned(), value());
    }
}

fn require_text(item: &Map<String, Value>, name: &str) -> Result<(), Problem> {
    match item.get(name) {
        Some(Value::String(_)) => Ok(()),
        None | Some(Value::Null) => {
            Err(Problem::new(&[name.into()], "missing", "this field is required: a string"))
        }
        Some(other) => {
            let message = format!("expected a string, got {}", type_name(other));
            Err(Problem::new(&[name.into()], "string_type", message))
        }
    }
}

fn read_message(
    item: &mut Map<String, Value>,
    images: &mut ImageReader,
    model: &str,
) -> Result<(), Problem> {
    let role = item.get("role").and_then(Value::as_str).unwrap_or_default();
    if !["system", "developer", "user", "assistant"].contains(&role) {
        let message = format!("must be system, developer, user or assistant, is '{}'", echo(role));
        return Err(Problem::new(&["role".into()], "enum", message));
    }
    let is_answer = role == "assistant";
    let images = (role == "user").then_some(images);
    read_parts("content", item.get_mut("content"), images, model)?;
    let part = |text: &str| {
        if is_answer {
            json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
        } else {
            json!({"type": "input_text", "text": text})
        }
    };
    let content = match item.get("content") {
        Some(Value::String(text)) => vec![part(text)],
        Some(Value::Array(parts)) => {
            let parts = parts.iter().map(|given| match given {
                Value::String(text) => part(text),
                given => given.clone(),
            });
            parts.collect()
        }
        _ => Vec::new(),
    };
    item.insert("content".into(), content.into());
    Ok(())
}

/// Checks that a content is nothing, a string, or parts with text or (with `images`) images. Those are collected, and
/// their parts name them by [`PENDING`].
fn read_parts(
    name: &str,
    content: Option<&mut Value>,
    mut images: Option<&mut ImageReader>,
    model: &str,
) -> Result<(), Problem> {
    let parts = match content {
        None | Some(Value::Null | Value::String(_)) => return Ok(()),
        Some(Value::Array(parts)) => parts,
        Some(other) => {
            let message =
                format!("expected a string or an array of parts, got {}", type_name(other));
            return Err(Problem::new(&[name.into()], "string_type", message));
        }
    };
    for (index, part) in parts.iter_mut().enumerate() {
        if text_of(part).is_some() {
            continue;
        }
        let path: [Loc; 2] = [name.into(), index.into()];
        let (kind, message) = match (part.get("type").and_then(Value::as_str), part.as_object()) {
            (Some("input_image" | "image_url" | "image"), Some(map)) => match &mut images {
                None => ("value_error", images::misplaced("assistant or system")),
                Some(images) => {
                    let mark = images.mark();
                    let read = images.openai_part(map);
                    images.place(mark, &path);
                    let Part::Image { blob } = read.map_err(|problem| within(&path, problem))?
                    else {
                        continue;
                    };
                    let detail = map.get("detail").filter(|detail| !detail.is_null()).cloned();
                    let detail = detail.unwrap_or_else(|| "auto".into());
                    *part = json!({"type": "input_image", "detail": detail, PENDING: blob});
                    continue;
                }
            },
            (Some("input_file" | "file" | "input_audio" | "audio"), _) => {
                ("value_error", format!("the model '{model}' takes text, and no audio or files"))
            }
            _ => {
                let message = "expected {\"type\": \"input_text\", \"text\": …}";
                ("literal_error", message.to_owned())
            }
        };
        return Err(Problem::new(&path, kind, message));
    }
    Ok(())
}

fn within(path: &[Loc], problem: ImageProblem) -> Problem {
    let ImageProblem { path: rest, kind, message } = problem;
    Problem { path: [path, &rest].concat(), kind, message }
}

/// Names the images that [`read`] collected by the files in which they are stored, in their order.
pub(super) fn name_images(items: &mut [Value], files: &[String]) {
    for item in items {
        for field in ["content", "output"] {
            let parts = item.get_mut(field).and_then(Value::as_array_mut);
            for part in parts.into_iter().flatten().filter_map(Value::as_object_mut) {
                let Some(index) = part.remove(PENDING) else { continue };
                let index = index.as_str().and_then(|index| index.parse::<usize>().ok());
                if let Some(file) = index.and_then(|index| files.get(index)) {
                    part.insert("file_id".to_owned(), file.as_str().into());
                }
            }
        }
    }
}

/// Returns the text of a part, if it is one of text.
fn text_of(part: &Value) -> Option<&str> {
    if let Value::String(text) = part {
        return Some(text);
    }
    match part.get("type")?.as_str()? {
        "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text" => {
            part.get("text")?.as_str()
        }
        "refusal" => part.get("refusal")?.as_str(),
        _ => None,
    }
}

/// Returns the text of a content, with successive parts joined by a line end.
fn text(content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(text_of).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

/// Returns the texts and images of a content, with successive texts joined by a line end.
fn parts(content: Option<&Value>, images: &mut ImageReader) -> Vec<Part> {
    let text = |text: &str| Part::Text { text: text.to_owned() };
    let given = match content {
        Some(Value::Array(parts)) => parts,
        Some(Value::String(content)) => return vec![text(content)],
        _ => return vec![text("")],
    };
    let read = given.iter().filter_map(|part| {
        if let Some(content) = text_of(part) {
            return Some(text(content));
        }
        if let Some(index) = part.get(PENDING).and_then(Value::as_str) {
            return Some(Part::Image { blob: index.to_owned() });
        }
        // One of an earlier response, which was checked then.
        let mark = images.mark();
        let image = part.as_object().and_then(|part| images.openai_part(part).ok());
        images.relocate(mark, &["previous_response_id".into()]);
        image
    });
    let parts = images::join_texts(read.collect::<Vec<_>>());
    if parts.is_empty() { vec![text("")] } else { parts }
}

/// Converts items that [`read`] returned, or that were sent as output, to messages. Successive items
/// of an answer (reasoning, text, calls, in this order) are one message.
pub(super) fn messages(items: &[Value], images: &mut ImageReader) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::with_capacity(items.len());
    for item in items {
        let field = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
        let part = match field("type") {
            "reasoning" => {
                let content = text(item.get("content"));
                let text = if content.is_empty() { text(item.get("summary")) } else { content };
                if text.is_empty() {
                    continue; // encrypted, or empty
                }
                Part::Reasoning { text }
            }
            "function_call" => {
                let call = call_of(field("call_id"), field("name"), item.get("arguments"));
                Part::ToolCall { call }
            }
            "function_call_output" => {
                let call_id = Some(field("call_id").to_owned());
                let parts = images::result_parts(call_id, parts(item.get("output"), images));
                messages.push(Message { role: Role::Tool, parts, name: None });
                continue;
            }
            _ => {
                let role = match field("role") {
                    "system" | "developer" => Role::System,
                    "assistant" => Role::Assistant,
                    _ => Role::User,
                };
                if role != Role::Assistant {
                    let parts = parts(item.get("content"), images);
                    messages.push(Message { role, parts, name: None });
                    continue;
                }
                Part::Text { text: text(item.get("content")) }
            }
        };
        match messages.last_mut() {
            Some(last) if last.role == Role::Assistant && continues(last, &part) => {
                last.parts.push(part);
            }
            _ => messages.push(Message { role: Role::Assistant, parts: vec![part], name: None }),
        }
    }
    messages
}

/// Returns whether a part belongs to the same answer as the message before it.
fn continues(message: &Message, part: &Part) -> bool {
    let rank = |part: &Part| match part {
        Part::Reasoning { .. } => 0,
        Part::ToolCall { .. } => 2,
        _ => 1,
    };
    let last = message.parts.last().map_or(0, rank);
    last < rank(part) || matches!(part, Part::ToolCall { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> ImageReader {
        ImageReader::new(Default::default())
    }

    fn all(input: &Value) -> Result<Vec<Value>, String> {
        let body = json!({});
        let mut fields = Fields::lenient(&body).unwrap();
        let items = read(&mut fields, &mut reader(), input, "demo");
        match fields.finish(Some(())) {
            Ok(()) => Ok(items),
            Err(problems) => Err(format!("{:?}: {}", problems[0].loc, problems[0].message)),
        }
    }

    #[test]
    fn items_may_omit_type_id_and_status() {
        let items = all(&json!([
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "input_text", "text": "a"}, "b"]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}]},
            {"role": "assistant", "content": "yes", "phase": "commentary"},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"x\":1}"},
            {"type": "function_call", "call_id": "c2", "name": "g"},
            {"type": "function_call_output", "call_id": "c1", "output": "one"},
            {"type": "function_call_output", "call_id": "c2",
             "output": [{"type": "input_text", "text": "two"}]},
        ]))
        .unwrap();
        for item in &items {
            let has = |name: &str| item[name].is_string();
            assert!(has("id") && has("type") && has("status"), "{item}");
        }
        assert_eq!(items[3]["phase"], "commentary");
        assert_eq!(items[5]["arguments"], "{}");
        let messages = messages(&items, &mut reader());
        let roles: Vec<_> = messages.iter().map(|message| message.role).collect();
        let expected = [Role::System, Role::User, Role::Assistant, Role::Tool, Role::Tool];
        assert_eq!(roles, expected);
        assert_eq!(messages[1].text(), "a\nb");
        assert!(
            matches!(
                &messages[2].parts[..],
                [
                    Part::Reasoning { .. },
                    Part::Text { .. },
                    Part::ToolCall { .. },
                    Part::ToolCall { .. }
                ]
            ),
            "{messages:?}"
        );
        let result = Part::ToolResult { call_id: Some("c2".into()), text: "two".into() };
        assert_eq!(messages[4].parts, [result]);
    }

    #[test]
    fn successive_answers_stay_apart() {
        let items = all(&json!([
            {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"},
            {"type": "reasoning", "encrypted_content": "x"},
        ]))
        .unwrap();
        assert_eq!(messages(&items, &mut reader()).len(), 2);
    }

    #[test]
    fn problems_name_the_place() {
        for (input, expected) in [
            (json!(5), r#""input""#),
            (json!([5]), r#""input"), Index(0)"#),
            (json!([{"content": "a"}]), r#"Name("type")"#),
            (json!([{"role": "robot"}]), "'robot'"),
            (json!([{"type": "computer_call"}]), "not supported"),
            (json!([{"type": "function_call", "call_id": "c"}]), r#"Name("name")"#),
            (json!([{"role": "user", "content": [{"type": "input_image"}]}]), "file"),
        ] {
            let problem = all(&input).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
