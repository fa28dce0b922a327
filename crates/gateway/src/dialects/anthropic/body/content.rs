//! Reads a content: a string, or an array of blocks.

use protocol::{Part, ToolCall};
use serde_json::{Map, Value};

use crate::validate::images::{self, ImageProblem, ImageReader};
use crate::validate::{Loc, echo, type_name};

/// A content block.
pub(super) enum Block<'a> {
    Text(&'a str),
    Image(Part),
    Thinking(&'a str),
    /// Encrypted reasoning of another model.
    Redacted,
    Call(ToolCall),
    CallResult {
        call_id: Option<String>,
        content: Vec<Part>,
    },
}

/// A problem and its path.
pub(super) struct Problem {
    pub(super) path: Vec<Loc>,
    pub(super) kind: &'static str,
    pub(super) message: String,
}

impl Problem {
    pub(super) fn new(path: Vec<Loc>, kind: &'static str, message: impl Into<String>) -> Self {
        Self { path, kind, message: message.into() }
    }

    /// Adds the first steps of the path.
    fn within<const N: usize>(mut self, steps: [Loc; N]) -> Self {
        self.path.splice(0..0, steps);
        self
    }
}

/// Reads the field `name`, with the index of each block.
pub(super) fn read<'a>(
    name: &str,
    value: &'a Value,
    images: &mut ImageReader,
    model: &str,
) -> Result<Vec<Block<'a>>, Problem> {
    match value {
        Value::String(text) => Ok(vec![Block::Text(text)]),
        Value::Array(blocks) => {
            let read = blocks.iter().enumerate().map(|(index, value)| {
                let path: [Loc; 2] = [name.into(), index.into()];
                let mark = images.mark();
                let read = block(value, images, model);
                images.place(mark, &path);
                read.map_err(|problem| problem.within(path))
            });
            read.collect()
        }
        other => {
            let message =
                format!("expected a string or an array of blocks, got {}", type_name(other));
            Err(Problem::new(vec![name.into()], "string_type", message))
        }
    }
}

/// Returns the texts of the field `name`, which may have no other blocks.
pub(super) fn texts<'a>(
    name: &str,
    value: &'a Value,
    images: &mut ImageReader,
    model: &str,
) -> Result<Vec<&'a str>, Problem> {
    let blocks = read(name, value, images, model)?.into_iter().enumerate();
    let text = |(index, block): (usize, Block<'a>)| match block {
        Block::Text(text) => Ok(text),
        _ => {
            let path = vec![name.into(), index.into(), "type".into()];
            Err(Problem::new(path, "literal_error", "only blocks of text are allowed here"))
        }
    };
    blocks.map(text).collect()
}

fn block<'a>(
    value: &'a Value,
    images: &mut ImageReader,
    model: &str,
) -> Result<Block<'a>, Problem> {
    match value.get("type").and_then(Value::as_str) {
        Some("text") => text(value, "text").map(Block::Text),
        Some("thinking") => text(value, "thinking").map(Block::Thinking),
        Some("redacted_thinking") => Ok(Block::Redacted),
        Some("tool_use") => call(value).map(Block::Call),
        Some("tool_result") => call_result(value, images, model),
        Some("image") => Ok(Block::Image(images.anthropic_source(value)?)),
        Some("document") => {
            let message = format!("the model '{model}' takes no documents: send text");
            Err(Problem::new(vec![], "value_error", message))
        }
        Some(other) => {
            let message = format!(
                "unknown type '{}': expected text, image, thinking, redacted_thinking, tool_use or \
                 tool_result",
                echo(other)
            );
            Err(Problem::new(vec!["type".into()], "literal_error", message))
        }
        None => {
            let message = "expected a block such as {\"type\": \"text\", \"text\": …}";
            Err(Problem::new(vec![], "missing", message))
        }
    }
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, Problem> {
    let text = value.get(name).and_then(Value::as_str);
    text.ok_or_else(|| Problem::new(vec![name.into()], "string_type", "expected a string"))
}

fn call(value: &Value) -> Result<ToolCall, Problem> {
    let arguments = match value.get("input") {
        None | Some(Value::Null) => Value::Object(Map::new()),
        Some(input @ Value::Object(_)) => input.clone(),
        Some(other) => {
            let message = format!("expected an object, got {}", type_name(other));
            return Err(Problem::new(vec!["input".into()], "dict_type", message));
        }
    };
    let (id, name) = (text(value, "id")?.to_owned(), text(value, "name")?.to_owned());
    Ok(ToolCall::Function { id, name, arguments })
}

/// Reads the result of a call. Chat templates have no place for the flag of an error, so the text
/// has it.
fn call_result<'a>(
    value: &'a Value,
    images: &mut ImageReader,
    model: &str,
) -> Result<Block<'a>, Problem> {
    const FIELD: &str = "content";
    let content = value.get(FIELD).filter(|content| !content.is_null());
    let blocks = content.map(|content| read(FIELD, content, images, model)).transpose()?;
    let part = |(index, block): (usize, Block<'a>)| match block {
        Block::Text(text) => Ok(Part::Text { text: text.to_owned() }),
        Block::Image(image) => Ok(image),
        _ => {
            let path = vec![FIELD.into(), index.into(), "type".into()];
            let message = "only blocks of text and images are allowed here";
            Err(Problem::new(path, "literal_error", message))
        }
    };
    let parts = blocks.unwrap_or_default().into_iter().enumerate().map(part);
    let mut content = images::join_texts(parts.collect::<Result<Vec<_>, _>>()?);
    if value.get("is_error").and_then(Value::as_bool).unwrap_or(false) {
        match content.first_mut() {
            Some(Part::Text { text }) => text.insert_str(0, "Error: "),
            _ => content.insert(0, Part::Text { text: "Error: ".to_owned() }),
        }
    }
    let call_id = value.get("tool_use_id").and_then(Value::as_str).map(str::to_owned);
    Ok(Block::CallResult { call_id, content })
}

impl From<ImageProblem> for Problem {
    fn from(problem: ImageProblem) -> Self {
        let ImageProblem { path, kind, message } = problem;
        Self { path, kind, message }
    }
}
