//! Messages of a conversation, and the parts of a message or an answer.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ToolCall;

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The speaker.
    pub role: Role,
    /// The content. A message of text alone is stored as a string.
    #[serde(rename = "content", serialize_with = "write_parts", deserialize_with = "read_parts")]
    pub parts: Vec<Part>,
    /// The speaker's name, to tell several of one role from each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The speaker of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The operator's instructions.
    System,
    /// The user.
    User,
    /// The model.
    Assistant,
    /// The result of a tool call.
    Tool,
}

/// A part of a message, or of an answer that is split. Successive texts concatenate, and so does successive
/// reasoning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Part {
    /// Reasoning that precedes the answer.
    Reasoning {
        /// The text.
        text: String,
    },
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// An image.
    Image {
        /// The name under which its bytes are stored.
        blob: String,
    },
    /// A video.
    Video {
        /// The name under which its bytes are stored.
        blob: String,
    },
    /// A complete call of a function, or the text in its place if it could not be parsed.
    ToolCall {
        /// The call.
        call: ToolCall,
    },
    /// The result of a call.
    ToolResult {
        /// The id of the call, if the conversation has ids.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call_id: Option<String>,
        /// The result.
        text: String,
    },
}

impl Part {
    /// Returns the name under which the bytes of an image or a video are stored; `None` for other parts.
    pub fn visual(&self) -> Option<&str> {
        match self {
            Self::Image { blob } | Self::Video { blob } => Some(blob),
            _ => None,
        }
    }

    /// Returns the name under which the bytes of an image are stored; `None` for other parts.
    pub fn image(&self) -> Option<&str> {
        match self {
            Self::Image { blob } => Some(blob),
            _ => None,
        }
    }
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::System, Self::User, Self::Assistant, Self::Tool];

    /// Returns the name that chat templates use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

impl Message {
    /// Creates a message of text.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self { role, parts: vec![Part::Text { text: text.into() }], name: None }
    }

    /// Creates a user's message of text.
    pub fn user(text: impl Into<String>) -> Self {
        Self::new(Role::User, text)
    }

    /// Returns the text of the message, including results of calls.
    pub fn text(&self) -> String {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Text { text } | Part::ToolResult { text, .. } => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    /// Returns whether an answer can continue this message: it is the assistant's, and calls nothing.
    pub fn can_be_continued(&self) -> bool {
        let is_call = |part: &Part| matches!(part, Part::ToolCall { .. });
        self.role == Role::Assistant && !self.parts.iter().any(is_call)
    }

    /// Moves the text of all system messages to the first place, one message to a paragraph: chat templates accept
    /// only one system message, and only there.
    pub fn system_first(messages: Vec<Self>) -> Vec<Self> {
        let is_system = |message: &Self| message.role == Role::System;
        if !messages.iter().skip(1).any(is_system) {
            return messages;
        }
        let (system, others): (Vec<_>, Vec<_>) = messages.into_iter().partition(is_system);
        let texts: Vec<String> = system.iter().map(Self::text).collect();
        let first = Self::new(Role::System, texts.join("\n\n"));
        std::iter::once(first).chain(others).collect()
    }
}

fn write_parts<S: Serializer>(parts: &[Part], serializer: S) -> Result<S::Ok, S::Error> {
    match parts {
        [Part::Text { text }] => text.serialize(serializer),
        parts => parts.serialize(serializer),
    }
}

fn read_parts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Part>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Content {
        Text(String),
        Parts(Vec<Part>),
    }
    Ok(match Content::deserialize(deserializer)? {
        Content::Text(text) => vec![Part::Text { text }],
        Content::Parts(parts) => parts,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_of_text_is_stored_as_older_versions_did() {
        let message = Message::user("Hello");
        let json = serde_json::to_value(&message).unwrap();
        assert_eq!(json, json!({"role": "user", "content": "Hello"}));
        assert_eq!(serde_json::from_value::<Message>(json).unwrap(), message);
    }

    #[test]
    fn every_part_travels() {
        let arguments = json!({"a": [1.5, 12_345_678_901_234_567_890_u64]});
        let call = ToolCall::Function { id: "call_1".into(), name: "f".into(), arguments };
        let message = Message {
            role: Role::Assistant,
            parts: vec![
                Part::Reasoning { text: "Hm".into() },
                Part::Text { text: "a".into() },
                Part::Image { blob: "b".into() },
                Part::Video { blob: "c".into() },
                Part::ToolCall { call },
                Part::ToolResult { call_id: Some("call_1".into()), text: "7".into() },
            ],
            name: Some("n".into()),
        };
        let text = serde_json::to_string(&message).unwrap();
        assert_eq!(serde_json::from_str::<Message>(&text).unwrap(), message, "{text}");
        assert_eq!(message.text(), "a7");
    }

    #[test]
    fn system_messages_are_merged_to_the_front() {
        let system = |text| Message::new(Role::System, text);
        let plain = vec![system("a"), Message::user("b")];
        assert_eq!(Message::system_first(plain.clone()), plain);
        let late = vec![system("a"), Message::user("b"), system("c"), Message::user("d")];
        let expected = [system("a\n\nc"), Message::user("b"), Message::user("d")];
        assert_eq!(Message::system_first(late), expected);
        let only_late = vec![Message::user("b"), system("c")];
        assert_eq!(Message::system_first(only_late), [system("c"), Message::user("b")]);
    }
}
