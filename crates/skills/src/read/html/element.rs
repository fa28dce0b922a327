//! Elements with boxes, as they stand in the structured answer.

use serde_json::{Map, Value};

use crate::marks::{Mark, Shape};
use crate::read::coordinates::{Space, to_json};
use crate::read::warnings::Warnings;

/// An element with a box.
pub(super) struct Element {
    pub(super) tag: String,
    pub(super) class: String,
    pub(super) text: String,
    /// Box and polygon: the key, the shape, and its numbers as the model wrote them.
    pub(super) boxes: Vec<(&'static str, Shape, Value)>,
}

impl Element {
    /// Returns the element as JSON and adds its marks.
    pub(super) fn into_json(
        self,
        index: usize,
        space: &Space<'_>,
        marks: &mut Vec<Mark>,
        warnings: &mut Warnings,
    ) -> Value {
        let mut element = Map::new();
        element.insert("tag".into(), self.tag.clone().into());
        if !self.class.is_empty() {
            element.insert("class".into(), self.class.clone().into());
        }
        let text = self.text.split_whitespace().collect::<Vec<_>>().join(" ");
        element.insert("text".into(), text.into());
        let mut pixels = Map::new();
        let kind =
            self.class.split(' ').next().filter(|class| !class.is_empty()).unwrap_or(&self.tag);
        let label: String = kind.chars().take(200).collect();
        for (key, shape, raw) in self.boxes {
            element.insert(key.into(), raw);
            let Some(picture) = space.picture_of(&Map::new(), index, warnings) else { continue };
            if let Some(shape) = space.map(&shape, picture, index, warnings) {
                let (key, value) = to_json(&shape);
                pixels.insert(key.into(), value);
                marks.push(Mark { picture, shape, label: Some(label.clone()) });
            }
        }
        if !pixels.is_empty() {
            element.insert("pixels".into(), pixels.into());
        }
        element.into()
    }
}
