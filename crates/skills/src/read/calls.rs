//! Finds the calls of functions in an answer: Hermes' `<tool_call>{json}</tool_call>`, Qwen3-Coder's
//! `<function=name><parameter=key>value</parameter></function>`, and bare JSON.

use protocol::ToolCall;
use serde_json::{Map, Value};

use super::repair;
use super::warnings::{Trouble, Warnings};

/// Parameters that are text even if they look like a number.
const TEXTS: [&str; 8] =
    ["text", "query", "answer", "action", "button", "status", "label", "thought"];
/// The most characters of a thought that are kept.
const MAX_THOUGHT: usize = 20_000;

/// A call.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    /// The function's name; for bare arguments that of the action.
    pub(super) name: String,
    pub(super) arguments: Map<String, Value>,
    /// What the model wrote before the call.
    pub(super) thought: Option<String>,
}

/// Returns the calls of a text. If the answer is cut, the last call counts only if it is whole.
pub(super) fn of_text(text: &str, is_cut: bool, warnings: &mut Warnings) -> Vec<Call> {
    const BEGIN: &str = "<tool_call>";
    let mut calls = Vec::new();
    let mut blocks = text.split(BEGIN);
    let first = blocks.next().unwrap_or_default();
    let mut before = first.to_owned();
    let mut has_block = false;
    for block in blocks {
        has_block = true;
        let whole = block.split_once("</tool_call>");
        let (block, after) = whole.unwrap_or((block, ""));
        of_block(block, is_cut && whole.is_none(), thought(&before), &mut calls, warnings);
        after.clone_into(&mut before);
    }
    if !has_block {
        let begin =
            [text.find("<function="), text.find("```"), text.find('{')].into_iter().flatten().min();
        if let Some(begin) = begin {
            of_block(&text[begin..], is_cut, thought(&text[..begin]), &mut calls, warnings);
        }
    }
    calls
}

/// Returns the calls that the engine has split off.
pub(super) fn of_engine(
    text: &str,
    split: &[ToolCall],
    is_cut: bool,
    warnings: &mut Warnings,
) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut thought = thought(text);
    for call in split {
        match call {
            ToolCall::Function { name, arguments, .. } => {
                match arguments_of(arguments.clone(), warnings) {
                    Some(arguments) => {
                        calls.push(Call { name: name.clone(), arguments, thought: thought.take() });
                    }
                    None => warnings.count(Trouble::NotACall, 0),
                }
            }
            ToolCall::Malformed { raw, .. } => {
                let raw =
                    raw.trim().trim_start_matches("<tool_call>").trim_end_matches("</tool_call>");
                of_block(raw, is_cut, thought.take(), &mut calls, warnings);
            }
        }
    }
    calls
}

/// Returns the text before a call without the labels of its lines.
fn thought(text: &str) -> Option<String> {
    const LABELS: [&str; 4] = ["Thought:", "Action:", "Conclusion:", "Observation:"];
    let lines: Vec<&str> = text
        .lines()
        .map(|line| {
            let line = line.trim();
            let unlabelled =
                LABELS.iter().find_map(|label| line.strip_prefix(label)).map(str::trim);
            unlabelled.map_or(line, |rest| {
                rest.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(rest)
            })
        })
        .filter(|line| line.contains(char::is_alphanumeric))
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n").chars().take(MAX_THOUGHT).collect())
}

/// Reads what stands between the tags of calls. If it is cut, only what is whole counts: half an action is worse than
/// none.
fn of_block(
    block: &str,
    is_cut: bool,
    thought: Option<String>,
    calls: &mut Vec<Call>,
    warnings: &mut Warnings,
) {
    let known = calls.len();
    if block.contains("<function=") && !block.trim_start().starts_with('{') {
        of_xml(block, is_cut, calls, warnings);
    } else {
        let found = repair::values(block.trim(), warnings);
        if found.values.is_empty() {
            warnings.count(Trouble::NotACall, calls.len());
        }
        let last = found.values.len().saturating_sub(1);
        for (index, value) in found.values.into_iter().enumerate() {
            if index == last && (found.is_cut || is_cut && found.lacks_brackets) {
                warnings.count(Trouble::NotACall, calls.len());
                break;
            }
            for value in if let Value::Array(list) = value { list } else { vec![value] } {
                match of_json(value, warnings) {
                    Some(call) => calls.push(call),
                    None => warnings.count(Trouble::NotACall, calls.len()),
                }
            }
        }
    }
    if let Some(call) = calls.get_mut(known) {
        call.thought = thought;
    }
}

/// Reads `{"name": …, "arguments": {…}}`, the same within "function", and arguments alone.
fn of_json(value: Value, warnings: &mut Warnings) -> Option<Call> {
    let Value::Object(mut object) = value else { return None };
    if let Some(Value::Object(_)) = object.get("function")
        && let Some(Value::Object(inner)) = object.shift_remove("function")
    {
        object = inner;
    }
    let name = object.get("name").and_then(Value::as_str).map(str::to_owned);
    let arguments =
        ["arguments", "parameters", "args"].iter().find_map(|key| object.shift_remove(*key));
    match (name, arguments) {
        (Some(name), arguments) => {
            let arguments = arguments_of(arguments.unwrap_or_else(|| Map::new().into()), warnings)?;
            Some(Call { name, arguments, thought: None })
        }
        (None, Some(arguments)) => {
            let arguments = arguments_of(arguments, warnings)?;
            let name = arguments.get("action")?.as_str()?.to_owned();
            Some(Call { name, arguments, thought: None })
        }
        (None, None) => {
            let name = object.get("action")?.as_str()?.to_owned();
            Some(Call { name, arguments: object, thought: None })
        }
    }
}

/// Returns arguments as an object; they may be JSON within a string.
fn arguments_of(value: Value, warnings: &mut Warnings) -> Option<Map<String, Value>> {
    match value {
        Value::Object(object) => Some(object),
        Value::Null => Some(Map::new()),
        Value::String(text) => match repair::values(&text, warnings).values.pop() {
            Some(Value::Object(object)) => Some(object),
            _ => None,
        },
        _ => None,
    }
}

/// Reads `<function=name><parameter=key>value</parameter></function>`.
fn of_xml(block: &str, is_cut: bool, calls: &mut Vec<Call>, warnings: &mut Warnings) {
    for function in block.split("<function=").skip(1) {
        let (function, is_closed) = match function.split_once("</function>") {
            Some((function, _)) => (function, true),
            None => (function, false),
        };
        let mut parameters = function.split("<parameter=");
        let head = parameters.next().unwrap_or_default();
        let name = head.split(['>', '\n']).next().unwrap_or_default().trim();
        let mut arguments = Map::new();
        let mut is_whole = head.contains('>') && !name.is_empty() && (is_closed || !is_cut);
        for parameter in parameters {
            let Some((key, value)) = parameter.split_once('>') else {
                is_whole = false;
                continue;
            };
            let value = match value.split_once("</parameter>") {
                Some((value, _)) => value,
                None => {
                    // The function's end shows that the value is whole.
                    is_whole &= is_closed;
                    value
                }
            };
            let key = key.trim();
            arguments.insert(key.to_owned(), of_parameter(key, value));
        }
        if !is_closed && is_whole && arguments.is_empty() {
            is_whole = false;
        }
        if is_whole {
            calls.push(Call { name: name.to_owned(), arguments, thought: None });
        } else {
            warnings.count(Trouble::NotACall, calls.len());
        }
    }
}

/// Reads a parameter's value: JSON unless the parameter is a text.
fn of_parameter(key: &str, value: &str) -> Value {
    let value = value.strip_prefix('\n').unwrap_or(value);
    let value = value.strip_suffix('\n').unwrap_or(value);
    let parsed = if TEXTS.contains(&key) { None } else { serde_json::from_str(value.trim()).ok() };
    parsed.unwrap_or_else(|| value.into())
}
