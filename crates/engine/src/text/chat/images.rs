//! The places of images and videos in a prompt. A template that takes a list as `content` places them itself. For one
//! that takes only strings, and for ChatML, they become [`IMAGE`] and [`VIDEO`] among the texts of their message.

use minijinja::{Template, Value};
use serde_json::json;

use super::guard::pairs;
use super::template_value;

/// The token that an image's rows replace.
pub(crate) const PAD: &str = "<|image_pad|>";

/// What the templates of all Qwen-VL write for an image, and for a video.
const IMAGE: &str = "<|vision_start|><|image_pad|><|vision_end|>";
const VIDEO: &str = "<|vision_start|><|video_pad|><|vision_end|>";

/// Characters that stand for an image and for a video while a template is rendered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marks {
    pub(super) image: char,
    pub(super) video: char,
}

/// Returns whether a template places an image that is in a list, as transformers passes it.
pub(super) fn are_placed_by(template: &Template<'_, '_>) -> bool {
    let content = json!([{"type": "image"}, {"type": "text", "text": "?"}]);
    let conversation = json!({
        "messages": [{"role": "user", "content": content}], "add_generation_prompt": true,
    });
    template
        .render(template_value(&conversation))
        .is_ok_and(|rendered| rendered.matches(PAD).count() == 1)
}

/// Returns the messages with lists that have images or videos replaced by their texts, with marks in the places of
/// these.
pub(super) fn flatten(messages: &Value, marks: Marks) -> Value {
    let Ok(items) = messages.try_iter() else { return messages.clone() };
    let flat = items.map(|message| match message.get_attr("content") {
        Ok(content) => match flat(&content, marks) {
            Some(text) => {
                Value::from_pairs(pairs(&message).map(|(key, value)| match key.as_str() {
                    Some("content") => (key, Value::from(text.as_str())),
                    _ => (key, value),
                }))
            }
            None => message,
        },
        Err(_) => message,
    });
    flat.collect()
}

/// Returns the text of a list that has images or videos; `None` for other contents.
fn flat(content: &Value, marks: Marks) -> Option<String> {
    if content.as_str().is_some() {
        return None;
    }
    let (mut text, mut has_places) = (String::new(), false);
    for item in content.try_iter().ok()? {
        let field = |name| item.get_attr(name).ok();
        match field("type")?.as_str() {
            Some("image") => text.push(marks.image),
            Some("video") => text.push(marks.video),
            _ => {
                text.push_str(field("text")?.as_str()?);
                continue;
            }
        }
        has_places = true;
    }
    has_places.then_some(text)
}

/// Puts the tokens of an image or a video in the place of each mark.
pub(super) fn place(rendered: &str, marks: Marks) -> String {
    rendered.replace(marks.image, IMAGE).replace(marks.video, VIDEO)
}
