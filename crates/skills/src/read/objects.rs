//! Reads lists of objects with boxes, points or polygons.

use protocol::VisionFamily;
use serde_json::{Map, Value};

use super::coordinates::Space;
use super::warnings::{Trouble, Warnings, quoted};
use super::{Reading, grounding, repair, shapes};
use crate::marks::Mark;

/// Keys around a list that don't say what is in it.
const WRAPPERS: [&str; 9] = [
    "objects",
    "items",
    "results",
    "result",
    "detections",
    "boxes",
    "bboxes",
    "points",
    "annotations",
];
/// The most characters of a key that becomes a label.
const MAX_LABEL: usize = 200;

/// Reads objects with boxes or points; the model may have written either.
pub(super) fn read(text: &str, space: &Space<'_>, expected: &str) -> Reading {
    let mut warnings = Warnings::default();
    let has_json = text.contains(['[', '{']);
    if grounding::has_tags(text) || (space.family() == VisionFamily::Qwen2Vl && !has_json) {
        let (items, is_cut) = grounding::items(text);
        if is_cut {
            warnings.add("the answer ends within its boxes; what is incomplete was left out");
        }
        if !items.is_empty() {
            return finish(items, space, warnings);
        }
    }
    let values = repair::values(text, &mut warnings).values;
    let is_empty_list = matches!(values.as_slice(), [Value::Array(list)] if list.is_empty());
    let mut items = Vec::new();
    for value in values {
        flatten(value, &mut items, &mut warnings, true);
    }
    if items.is_empty() && !is_empty_list {
        warnings.add(format!("no objects were found: expected {expected}, found {}", quoted(text)));
        return Reading { warnings: warnings.into_texts(), ..Reading::default() };
    }
    finish(items, space, warnings)
}

/// Maps the items' coordinates.
fn finish(
    mut items: Vec<Map<String, Value>>,
    space: &Space<'_>,
    mut warnings: Warnings,
) -> Reading {
    warnings.bound(&mut items);
    let mut marks: Vec<Mark> = Vec::new();
    for (index, item) in items.iter_mut().enumerate() {
        if !shapes::attach(item, index, space, &mut marks, &mut warnings) {
            warnings.count(Trouble::NoShape, index);
        }
    }
    warnings.bound(&mut marks);
    let structured = items.into_iter().map(Value::from).collect::<Vec<_>>();
    Reading { structured: Some(structured.into()), marks, warnings: warnings.into_texts() }
}

/// Collects the items of a value: objects, lists of them, and objects with lists of them.
fn flatten(
    value: Value,
    items: &mut Vec<Map<String, Value>>,
    warnings: &mut Warnings,
    is_outer: bool,
) {
    match value {
        Value::Object(mut object) if is_outer && let Some(groups) = groups_of(&object) => {
            for key in groups {
                let list = object.get_mut(&key).map(Value::take).unwrap_or_default();
                let label = (!WRAPPERS.contains(&key.as_str())).then_some(key);
                of_group(label.as_deref(), list, items, warnings);
            }
        }
        Value::Object(object) if !object.is_empty() => items.push(object),
        // A box or a point without an object around it.
        Value::Array(list) if is_coordinates(&list) => items.push(of_coordinates(list, None)),
        Value::Array(list) if is_outer => {
            for value in list {
                let is_list = value.is_array();
                flatten(value, items, warnings, is_list);
            }
        }
        _ => warnings.count(Trouble::NotAnItem, items.len()),
    }
}

/// Collects the items of `{"cat": [[1, 2, 3, 4], …]}` and of `{"objects": [{…}, …]}`.
fn of_group(
    label: Option<&str>,
    value: Value,
    items: &mut Vec<Map<String, Value>>,
    warnings: &mut Warnings,
) {
    let list = match value {
        Value::Array(list) if is_coordinates(&list) => vec![Value::Array(list)],
        Value::Array(list) => list,
        _ => return warnings.count(Trouble::NotAnItem, items.len()),
    };
    for value in list {
        match value {
            Value::Object(mut object) => {
                if let Some(label) = label
                    && shapes::has_shape(&object)
                    && !object.contains_key("label")
                {
                    object.insert("label".into(), shortened(label).into());
                }
                items.push(object);
            }
            Value::Array(list) if is_coordinates(&list) => items.push(of_coordinates(list, label)),
            _ => warnings.count(Trouble::NotAnItem, items.len()),
        }
    }
}

fn of_coordinates(list: Vec<Value>, label: Option<&str>) -> Map<String, Value> {
    let key = if list.len() == 2 && !list[0].is_array() { "point_2d" } else { "bbox_2d" };
    let mut item = Map::new();
    item.insert(key.into(), list.into());
    if let Some(label) = label {
        item.insert("label".into(), shortened(label).into());
    }
    item
}

fn shortened(label: &str) -> String {
    label.chars().take(MAX_LABEL).collect()
}

/// Returns whether a list is that of one shape's numbers.
fn is_coordinates(list: &[Value]) -> bool {
    let is_flat = list.iter().all(|value| value.is_number() || value.is_string());
    (2..=64).contains(&list.len())
        && is_flat
        && list.iter().all(|value| shapes::numbers(value).is_some_and(|n| n.len() == 1))
}

/// Returns the lists of items that an object has in the place of coordinates: lists of objects, whatever else it has,
/// or lists of coordinates and nothing else.
fn groups_of(object: &Map<String, Value>) -> Option<Vec<String>> {
    let is_of_objects = |value: &Value| {
        value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(Value::is_object))
    };
    let is_of_coordinates = |value: &Value| {
        value.as_array().is_some_and(|list| {
            let is_list = |item: &Value| item.as_array().is_some_and(|list| is_coordinates(list));
            (!list.is_empty() && list.iter().all(is_list))
                || (list.len() >= 4 && is_coordinates(list))
        })
    };
    if shapes::has_coordinates(object) || object.is_empty() {
        return None;
    }
    let keys_of = |is_group: &dyn Fn(&Value) -> bool| -> Vec<String> {
        object.iter().filter(|(_, value)| is_group(value)).map(|(key, _)| key.clone()).collect()
    };
    let of_objects = keys_of(&is_of_objects);
    if !of_objects.is_empty() {
        return Some(of_objects);
    }
    object.values().all(is_of_coordinates).then(|| keys_of(&is_of_coordinates))
}
