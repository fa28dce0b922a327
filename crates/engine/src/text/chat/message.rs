//! Converts messages to the shape that chat templates expect: the one of OpenAI's API and of `transformers`.

use chat::{Message, Part, ToolCall};
use serde_json::{Value, json};

/// Returns a message as templates expect it: `content` is a string, a call's `arguments` are an object.
///
/// # Errors
/// Returns an error if the message has an image or a video.
pub fn template_message(message: &Message) -> Result<Value, String> {
    let (mut reasoning, mut calls, mut call_id) = (String::new(), Vec::new(), None);
    for part in &message.parts {
        match part {
            Part::Text { .. } => {}
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
            Part::Image { .. } => return Err("this model does not take images".to_owned()),
            Part::Video { .. } => return Err("this model does not take videos".to_owned()),
        }
    }
    let mut shaped = json!({"role": message.role.as_str(), "content": message.text()});
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
    Ok(shaped)
}

#[cfg(test)]
mod tests {
    use chat::Role;

    use super::*;

    #[test]
    fn template_messages_have_only_the_needed_fields() {
        let user = template_message(&Message::user("Hi")).unwrap();
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
        assert_eq!(template_message(&message).unwrap(), expected);
        let result = Part::ToolResult { call_id: Some("call_1".into()), text: "7".into() };
        let message = Message { role: Role::Tool, parts: vec![result], name: None };
        let expected = json!({"role": "tool", "content": "7", "tool_call_id": "call_1"});
        assert_eq!(template_message(&message).unwrap(), expected);
    }

    #[test]
    fn images_are_refused() {
        let image = Part::Image { blob: "b".into() };
        let message = Message { role: Role::User, parts: vec![image], name: None };
        assert!(template_message(&message).unwrap_err().contains("images"));
    }
}
