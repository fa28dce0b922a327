//! Converts messages to the shape that chat templates expect: the one of OpenAI's API and of `transformers`.

use chat::{Message, Part, ToolCall};
use serde_json::{Value, json};

/// Returns a message as templates expect it: `content` is a string, or a list of items if the message has images or
/// videos; a call's `arguments` are an object.
pub fn template_message(message: &Message) -> Value {
    let (mut reasoning, mut calls, mut call_id) = (String::new(), Vec::new(), None);
    for part in &message.parts {
        match part {
            Part::Text { .. } | Part::Image { .. } | Part::Video { .. } => {}
            Part::Reasoning { text } => reasoning.push_str(text),
            Part::ToolCall { call: ToolCall::Function { id, name, arguments } } => {
                let mut shaped = json!({
                    "type": "function",
                    "function": {"name": name, "arguments": arguments},
                });
                if !id.is_empty() {
                    shaped["id"] = json!(id);
                }
                calls.push(shaped);
            }
            Part::ToolCall { call: ToolCall::Malformed { .. } } => {}
            Part::ToolResult { call_id: of, .. } => call_id = of.as_deref(),
        }
    }
    let mut shaped = json!({"role": message.role.as_str(), "content": content(message)});
    // Templates test whether these are defined.
    if !reasoning.is_empty() {
        shaped["reasoning_content"] = json!(reasoning);
    }
    if !calls.is_empty() {
        shaped["tool_calls"] = Value::Array(calls);
    }
    if let Some(call_id) = call_id {
        shaped["tool_call_id"] = json!(call_id);
    }
    if let Some(name) = &message.name {
        shaped["name"] = json!(name);
    }
    shaped
}

fn content(message: &Message) -> Value {
    if message.parts.iter().all(|part| part.visual().is_none()) {
        return json!(message.text());
    }
    let item = |part: &Part| match part {
        Part::Image { .. } => Some(json!({"type": "image"})),
        Part::Video { .. } => Some(json!({"type": "video"})),
        Part::Text { text } | Part::ToolResult { text, .. } => {
            Some(json!({"type": "text", "text": text}))
        }
        Part::Reasoning { .. } | Part::ToolCall { .. } => None,
    };
    message.parts.iter().filter_map(item).collect()
}

#[cfg(test)]
mod tests {
    use chat::Role;

    use super::*;

    #[test]
    fn template_messages_have_only_the_needed_fields() {
        let user = template_message(&Message::user("Hi"));
        assert_eq!(user, json!({"role": "user", "content": "Hi"}));
        let call = |id: &str, name: &str| Part::ToolCall {
            call: ToolCall::Function {
                id: id.into(),
                name: name.into(),
                arguments: json!({"a": 1}),
            },
        };
        let message = Message {
            role: Role::Assistant,
            parts: vec![Part::Reasoning { text: "Hm".into() }, call("call_1", "f"), call("", "g")],
            name: None,
        };
        let expected = json!({
            "role": "assistant", "content": "", "reasoning_content": "Hm",
            "tool_calls": [
                {"type": "function", "function": {"name": "f", "arguments": {"a": 1}}, "id": "call_1"},
                {"type": "function", "function": {"name": "g", "arguments": {"a": 1}}},
            ],
        });
        assert_eq!(template_message(&message), expected);
        let result = Part::ToolResult { call_id: Some("call_1".into()), text: "7".into() };
        let message = Message { role: Role::Tool, parts: vec![result], name: None };
        let expected = json!({"role": "tool", "content": "7", "tool_call_id": "call_1"});
        assert_eq!(template_message(&message), expected);
    }

    #[test]
    fn images_keep_their_places_among_texts() {
        let text = |text: &str| Part::Text { text: text.into() };
        let image = || Part::Image { blob: "b".into() };
        let video = Part::Video { blob: "c".into() };
        let parts = vec![image(), text("a"), image(), text("b"), video];
        let message = Message { role: Role::User, parts, name: None };
        let expected = json!({"role": "user", "content": [
            {"type": "image"}, {"type": "text", "text": "a"},
            {"type": "image"}, {"type": "text", "text": "b"}, {"type": "video"},
        ]});
        assert_eq!(template_message(&message), expected);
    }
}
