//! Reads Qwen's Markdown of documents: comments such as `<!-- Table (x1, y1, x2, y2) -->` say where things are.
//!
//! HTML within the Markdown is kept. Who shows it in a browser has to sanitize it.

use serde_json::{Map, Value, json};

use super::coordinates::{Space, to_json};
use super::warnings::{MAX_ITEMS, Trouble, Warnings};
use super::{Reading, fence, shapes};
use crate::marks::Mark;

/// The longest comment with a box, in bytes.
const MAX_COMMENT: usize = 300;

/// Reads Markdown: takes the comments with boxes out, and keeps other comments.
pub(super) fn read(text: &str, space: &Space<'_>) -> Reading {
    let mut warnings = Warnings::default();
    let (body, has_words_around) = fence::unwrapped(text, &["markdown", "md"]);
    if has_words_around {
        warnings.add("words outside of the Markdown were left out");
    }
    let (mut markdown, mut elements, mut marks) =
        (String::with_capacity(body.len()), Vec::new(), Vec::new());
    let mut rest = body;
    while let Some((before, after)) = rest.split_once("<!--") {
        markdown.push_str(before);
        let limit = (0..=MAX_COMMENT.min(after.len())).rev().find(|at| after.is_char_boundary(*at));
        let window = &after[..limit.unwrap_or(0)];
        match window.split_once("-->") {
            Some((comment, _)) if let Some((kind, raw)) = place(comment) => {
                if elements.len() < MAX_ITEMS {
                    add(kind, &raw, space, &mut elements, &mut marks, &mut warnings);
                } else {
                    warnings.count(Trouble::TooMany, elements.len());
                }
                rest = &after[comment.len() + "-->".len()..];
                rest = without_line(&markdown, rest);
            }
            None if after.len() < MAX_COMMENT => {
                warnings.add("the answer ends within a comment, which was left out");
                rest = "";
            }
            _ => {
                markdown.push_str("<!--");
                rest = after;
            }
        }
    }
    markdown.push_str(rest);
    let structured = json!({ "markdown": markdown.trim(), "elements": elements });
    Reading { structured: Some(structured), marks, warnings: warnings.into_texts() }
}

/// Adds the element of a comment.
fn add(
    kind: &str,
    raw: &[Value],
    space: &Space<'_>,
    elements: &mut Vec<Value>,
    marks: &mut Vec<Mark>,
    warnings: &mut Warnings,
) {
    let index = elements.len();
    let mut element = Map::new();
    element.insert("kind".into(), kind.to_lowercase().into());
    element.insert("bbox_2d".into(), raw.to_vec().into());
    let shape =
        shapes::numbers(&Value::from(raw.to_vec())).and_then(|numbers| shapes::shape(&numbers));
    if let Some(shape) = shape
        && let Some(picture) = space.picture_of(&element, index, warnings)
        && let Some(shape) = space.map(&shape, picture, index, warnings)
    {
        let (key, value) = to_json(&shape);
        element.insert("pixels".into(), json!({ key: value }));
        marks.push(Mark { picture, shape, label: Some(kind.to_lowercase()) });
    }
    elements.push(element.into());
}

/// Reads `Table (x1, y1, x2, y2)`.
fn place(comment: &str) -> Option<(&str, Vec<Value>)> {
    let (kind, numbers) = comment.trim().split_once('(')?;
    let numbers = numbers.trim_end().strip_suffix(')')?;
    let kind = kind.trim().trim_end_matches(':').trim();
    let raw: Vec<Value> = numbers
        .split([',', ' '])
        .filter(|word| !word.is_empty())
        .map(|word| serde_json::from_str(word).ok().filter(Value::is_number))
        .collect::<Option<_>>()?;
    (raw.len() == 4 && !kind.is_empty()).then_some((kind, raw))
}

/// Takes the rest of a line off that has had nothing but a comment.
fn without_line<'a>(before: &str, rest: &'a str) -> &'a str {
    if !before.is_empty() && !before.ends_with('\n') {
        return rest;
    }
    match rest.split_once('\n') {
        Some((line, after)) if line.trim().is_empty() => after,
        _ => rest,
    }
}
