//! Ends a prompt inside its last message, so that the answer continues the message, as `transformers` does for
//! `continue_final_message`: the end of the message's text is marked, and what is rendered after the mark is dropped.

use minijinja::Value;

use super::guard::pairs;

/// Returns the messages with `mark` and a space at the end of the last one's text; `None` if it has no text.
pub(super) fn mark_end(messages: &Value, mark: char) -> Option<Value> {
    let mut messages: Vec<Value> = messages.try_iter().ok()?.collect();
    let last = messages.pop()?;
    let content = last.get_attr("content").ok()?;
    let marked = Value::from(format!("{}{mark} ", content.as_str()?));
    let replaced = pairs(&last).map(|(key, value)| match key.as_str() {
        Some("content") => (key, marked.clone()),
        _ => (key, value),
    });
    messages.push(Value::from_pairs(replaced));
    Some(Value::from(messages))
}

/// Cuts a rendered text at the last mark; `None` if there is none. A template that has dropped the space after the
/// mark trims texts, so the white space before the mark is dropped too.
pub(super) fn cut(rendered: &str, mark: char) -> Option<String> {
    let (text, rest) = rendered.rsplit_once(mark)?;
    let text = if rest.starts_with(' ') { text } else { text.trim_end() };
    Some(text.replace(mark, ""))
}
