//! [`FormFields`]: the fields of a form (`multipart/form-data`), which become those of a JSON body. Reads without I/O.

use std::fmt;

use actix_web::web::Bytes;
use protocol::VisualKind;
use serde_json::{Map, Value, json};

use super::{FieldError, Loc, echo};

/// The names of fields that have images or videos.
const PICTURES: [(&str, VisualKind); 6] = [
    ("image", VisualKind::Image),
    ("images", VisualKind::Image),
    ("image_url", VisualKind::Image),
    ("video", VisualKind::Video),
    ("videos", VisualKind::Video),
    ("video_url", VisualKind::Video),
];
/// The other names of fields, and those by which they are validated.
const ALIASES: [(&str, &str); 2] = [("text", PROMPT), ("prompts", PROMPT)];
/// The field of the model's input.
const PROMPT: &str = "prompt";
/// The fields whose values are texts, even if they look like JSON.
const TEXTS: [&str; 7] = [PROMPT, "model", "user_id", "webhook_url", "priority", "regex", "run_at"];
/// The fields that may come several times.
const LISTS: [&str; 2] = ["stop", "choice"];

/// Returns what the field of this name has, if it has images or videos.
pub(crate) fn kind_of_picture(name: &str) -> Option<VisualKind> {
    let name = name.strip_suffix("[]").unwrap_or(name);
    PICTURES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
}

/// The fields of a form, in their order.
#[derive(Debug, Default)]
pub(crate) struct FormFields {
    texts: Vec<(String, String)>,
    pictures: Vec<Picture>,
}

/// An image or a video of a form.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) kind: VisualKind,
    /// The path to it within the form.
    pub(super) path: Vec<Loc>,
    pub(super) given: Given,
}

/// What a form has of an image.
pub(crate) enum Given {
    /// The file itself.
    File(Bytes),
    /// Where it is: a data URL, an id, or a URL.
    Text(String),
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(bytes) => write!(f, "File({} bytes)", bytes.len()),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
        }
    }
}

impl Given {
    /// Returns what distinguishes it from other images.
    pub(crate) fn identity(&self, hash: impl Fn(&[u8]) -> String) -> Value {
        match self {
            Self::File(bytes) => json!({"file": hash(bytes)}),
            Self::Text(text) => json!(text),
        }
    }
}

impl FormFields {
    /// Adds a field. An empty one counts as absent, because pages send those that nobody filled in.
    pub(crate) fn add_text(&mut self, name: &str, value: String) {
        let name = name.strip_suffix("[]").unwrap_or(name);
        if !value.is_empty() || [PROMPT, "text", "prompts"].contains(&name) {
            self.texts.push((name.to_owned(), value));
        }
    }

    /// Adds an image.
    pub(crate) fn add_picture(&mut self, name: &str, given: Given) {
        let name = name.strip_suffix("[]").unwrap_or(name);
        let kind = kind_of_picture(name).unwrap_or(VisualKind::Image);
        self.pictures.push(Picture { kind, path: vec![name.into()], given });
    }

    /// Returns the images.
    pub(crate) fn pictures(&self) -> impl Iterator<Item = &Given> {
        self.pictures.iter().map(|picture| &picture.given)
    }

    /// Takes the images. Several of the same name have indexes.
    pub(crate) fn take_pictures(&mut self) -> Vec<Picture> {
        let mut taken = std::mem::take(&mut self.pictures);
        let names: Vec<Loc> = taken.iter().map(|picture| picture.path[0].clone()).collect();
        for (index, picture) in taken.iter_mut().enumerate() {
            let name = &picture.path[0];
            if picture.path.len() == 1 && names.iter().filter(|other| *other == name).count() > 1 {
                let before = names[..index].iter().filter(|other| *other == name).count();
                picture.path.push(before.into());
            }
        }
        taken
    }

    /// Takes the texts of the prompt's fields, in order.
    pub(crate) fn take_prompts(&mut self) -> Vec<String> {
        let (prompts, others) = std::mem::take(&mut self.texts)
            .into_iter()
            .partition(|(name, _)| known_as(name) == PROMPT);
        self.texts = others;
        let prompts: Vec<(String, String)> = prompts;
        prompts.into_iter().map(|(_, text)| text).collect()
    }

    /// Returns whether there is a prompt.
    pub(crate) fn has_prompt(&self) -> bool {
        self.texts.iter().any(|(name, _)| known_as(name) == PROMPT)
    }

    /// Returns the same fields with one image and, if there is one, a prompt.
    pub(crate) fn with(&self, picture: Picture, prompt: Option<&str>) -> Self {
        let mut texts = self.texts.clone();
        texts.extend(prompt.map(|prompt| (PROMPT.to_owned(), prompt.to_owned())));
        Self { texts, pictures: vec![picture] }
    }

    /// Adds a prompt.
    pub(crate) fn set_prompt(&mut self, text: &str) {
        self.texts.push((PROMPT.to_owned(), text.to_owned()));
    }

    /// Returns the name of the field that has the prompt.
    pub(crate) fn name_of_prompt(&self) -> &str {
        let found = self.texts.iter().find(|(name, _)| known_as(name) == PROMPT);
        found.map_or(PROMPT, |(name, _)| name)
    }

    /// Returns the fields as those of a JSON body.
    ///
    /// # Errors
    /// If a field comes twice, or is one of JSON bodies only.
    pub(crate) fn body(&self) -> Result<Value, Vec<FieldError>> {
        let (mut body, mut problems) = (Map::new(), Vec::new());
        let mut problem = |name: &str, kind, message: String| {
            problems.push(FieldError::new(["body".into(), Loc::Name(echo(name))], kind, message));
        };
        for (given, text) in &self.texts {
            let name = known_as(given);
            if name == "messages" {
                let message = "a form has one prompt: send conversations as JSON".to_owned();
                problem(given, "extra_forbidden", message);
            } else if LISTS.contains(&name) {
                let list = body.entry(name).or_insert_with(|| json!([]));
                if let Value::Array(list) = list {
                    list.push(json!(text));
                }
            } else if body.contains_key(name) {
                let message = match given == name {
                    true => "comes twice".to_owned(),
                    false => format!("comes twice: {given} is another name of {name}"),
                };
                problem(given, "value_error", message);
            } else {
                body.insert(name.to_owned(), value(name, text));
            }
        }
        if problems.is_empty() { Ok(Value::Object(body)) } else { Err(problems) }
    }
}

fn known_as(name: &str) -> &str {
    ALIASES.iter().find(|(other, _)| *other == name).map_or(name, |(_, known)| known)
}

/// Reads the text of a field as JSON if it is a number, a truth value, a list or an object.
fn value(name: &str, text: &str) -> Value {
    if TEXTS.contains(&name) {
        return json!(text);
    }
    let trimmed = text.trim();
    for (word, value) in [("true", true), ("false", false)] {
        if trimmed.eq_ignore_ascii_case(word) {
            return json!(value);
        }
    }
    serde_json::from_str(trimmed).unwrap_or_else(|_| json!(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(fields: &[(&str, &str)]) -> FormFields {
        let mut form = FormFields::default();
        fields.iter().for_each(|(name, text)| form.add_text(name, (*text).to_owned()));
        form
    }

    #[test]
    fn texts_become_the_values_of_a_body() {
        let fields = [
            ("text", "17"),
            ("max_tokens", "8"),
            ("temperature", "0.5"),
            ("seed", ""),
            ("stop", "a"),
            ("stop[]", "1"),
            ("raw", "True"),
            ("metadata", "{\"a\": \"b\"}"),
            ("run_at", "17"),
            ("top_k", "many"),
        ];
        let expected = json!({
            "prompt": "17", "max_tokens": 8, "temperature": 0.5, "stop": ["a", "1"], "raw": true,
            "metadata": {"a": "b"}, "run_at": "17", "top_k": "many",
        });
        assert_eq!(form(&fields).body(), Ok(expected));
        assert_eq!(form(&fields).name_of_prompt(), "text");
    }

    #[test]
    fn fields_that_contradict_each_other_are_named() {
        for (fields, field, reason) in [
            ([("prompt", "a"), ("text", "b")], "text", "another name of prompt"),
            ([("max_tokens", "1"), ("max_tokens", "1")], "max_tokens", "comes twice"),
            ([("prompt", "a"), ("messages", "[]")], "messages", "as JSON"),
        ] {
            let problems = form(&fields).body().unwrap_err();
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert_eq!(problems[0].param().as_deref(), Some(field));
            assert!(problems[0].message.contains(reason), "{problems:?}");
        }
    }

    #[test]
    fn several_images_of_a_name_have_indexes() {
        let mut form = FormFields::default();
        for name in ["image", "images[]", "image"] {
            form.add_picture(name, Given::Text("x".to_owned()));
        }
        let paths: Vec<Vec<Loc>> =
            form.take_pictures().into_iter().map(|picture| picture.path).collect();
        let expected: [Vec<Loc>; 3] =
            [vec!["image".into(), 0.into()], vec!["images".into()], vec!["image".into(), 1.into()]];
        assert_eq!(paths, expected);
    }
}
