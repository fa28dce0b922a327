//! Reads the shapes that an item has, as the model wrote them.

use serde_json::{Map, Value};

use super::coordinates::{Space, to_json};
use super::warnings::{Trouble, Warnings};
use crate::marks::{Mark, Shape};

/// Keys of boxes.
const BOX_KEYS: [&str; 7] = ["bbox_2d", "bbox", "box_2d", "box", "bounding_box", "bboxes", "boxes"];
/// Keys of points.
const POINT_KEYS: [&str; 6] =
    ["point_2d", "point", "points", "points_2d", "coordinate", "coordinates"];
/// Keys of polygons.
const POLYGON_KEYS: [&str; 5] = ["polygon", "polygon_2d", "quad", "quad_2d", "poly"];
/// Keys of what is not drawn.
const OTHER_KEYS: [&str; 1] = ["bbox_3d"];
/// Keys of what an item is called, the best first.
const LABEL_KEYS: [&str; 9] = [
    "label",
    "text_content",
    "name",
    "name_en",
    "text",
    "category",
    "class",
    "caption",
    "description",
];
/// The most characters of a mark's label.
const MAX_LABEL: usize = 200;
/// The most numbers that are read from a text.
const MAX_NUMBERS: usize = 2_000;

/// Returns whether an item has a key of a shape.
pub(super) fn has_shape(item: &Map<String, Value>) -> bool {
    item.keys().any(|key| is_shape_key(key))
}

/// Returns whether an item has a shape that can be read, or one in space.
pub(super) fn has_coordinates(item: &Map<String, Value>) -> bool {
    let is_read = |key: &str, value: &Value| {
        OTHER_KEYS.contains(&key) || is_shape_key(key) && !shapes_of(value, false).is_empty()
    };
    item.iter().any(|(key, value)| is_read(key, value))
}

fn is_shape_key(key: &str) -> bool {
    BOX_KEYS.contains(&key)
        || POINT_KEYS.contains(&key)
        || POLYGON_KEYS.contains(&key)
        || OTHER_KEYS.contains(&key)
}

/// Returns what an item is called, at most [`MAX_LABEL`] characters of it.
fn label(item: &Map<String, Value>) -> Option<String> {
    LABEL_KEYS.iter().filter_map(|key| item.get(*key)).find_map(|value| match value {
        Value::String(text) => Some(text.chars().take(MAX_LABEL).collect()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

/// Adds `pixels` to an item that has shapes, and its marks to `marks`. Returns whether it has coordinates.
pub(super) fn attach(
    item: &mut Map<String, Value>,
    index: usize,
    space: &Space<'_>,
    marks: &mut Vec<Mark>,
    warnings: &mut Warnings,
) -> bool {
    let mut shapes = Vec::new();
    let mut is_readable = true;
    for (keys, is_point) in [(&BOX_KEYS[..], false), (&POINT_KEYS, true), (&POLYGON_KEYS, false)] {
        // Of keys that mean the same, the first counts.
        let found = keys.iter().find_map(|key| item.get(*key).filter(|value| !value.is_null()));
        if let Some(value) = found {
            let of_key = shapes_of(value, is_point);
            is_readable &= !of_key.is_empty();
            shapes.extend(of_key);
        }
    }
    if !is_readable {
        warnings.count(Trouble::Unreadable, index);
    }
    if shapes.is_empty() {
        return has_shape(item);
    }
    let Some(picture) = space.picture_of(item, index, warnings) else { return true };
    let label = label(item);
    let mut pixels = Map::new();
    for shape in shapes.iter().filter_map(|shape| space.map(shape, picture, index, warnings)) {
        let (key, value) = to_json(&shape);
        add(&mut pixels, key, value);
        marks.push(Mark { picture, shape, label: label.clone() });
    }
    item.insert("pixels".into(), pixels.into());
    true
}

/// Adds a shape: the second of a kind makes a list under the key's plural.
fn add(pixels: &mut Map<String, Value>, key: &str, value: Value) {
    let several = if key == "box" { "boxes".into() } else { format!("{key}s") };
    if let Some(Value::Array(values)) = pixels.get_mut(&several) {
        values.push(value);
    } else if let Some(first) = pixels.shift_remove(key) {
        pixels.insert(several, vec![first, value].into());
    } else {
        pixels.insert(key.into(), value);
    }
}

/// Returns the shapes of a value: lists of numbers, nested or not, texts of numbers, objects with `x` and `y`.
pub(super) fn shapes_of(value: &Value, is_point: bool) -> Vec<Shape> {
    let value = as_list(value);
    let Value::Array(items) = &*value else {
        return numbers(&value).and_then(|numbers| shape(&numbers)).into_iter().collect();
    };
    let rows: Option<Vec<Vec<f64>>> =
        items.iter().map(|item| numbers(item).filter(|row| row.len() > 1)).collect();
    match rows {
        Some(rows) if !rows.is_empty() => {
            let is_pairs = rows.iter().all(|row| row.len() == 2);
            if is_pairs && (is_point || rows.len() == 1) {
                rows.iter().filter_map(|row| shape(row)).collect()
            } else if is_pairs {
                shape(&rows.concat()).into_iter().collect()
            } else {
                rows.iter().filter_map(|row| shape(row)).collect()
            }
        }
        _ => numbers(&value).and_then(|numbers| shape(&numbers)).into_iter().collect(),
    }
}

/// Returns the shape of numbers: a point of 2, a box of 4, a polygon of 6, 8 and more.
pub(super) fn shape(numbers: &[f64]) -> Option<Shape> {
    match *numbers {
        [x, y] => Some(Shape::Point([x, y])),
        [x1, y1, x2, y2] => Some(Shape::Box([x1, y1, x2, y2])),
        _ if numbers.len() >= 6 && numbers.len().is_multiple_of(2) => {
            Some(Shape::Polygon(numbers.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect()))
        }
        _ => None,
    }
}

/// Turns `{"x1": …, "y1": …, "x2": …, "y2": …}` and `{"x": …, "y": …}` into lists.
fn as_list(value: &Value) -> std::borrow::Cow<'_, Value> {
    use std::borrow::Cow;
    let Value::Object(object) = value else { return Cow::Borrowed(value) };
    const NAMES: [&[&str]; 5] = [
        &["x1", "y1", "x2", "y2"],
        &["xmin", "ymin", "xmax", "ymax"],
        &["x_min", "y_min", "x_max", "y_max"],
        &["left", "top", "right", "bottom"],
        &["x", "y"],
    ];
    let found = NAMES.iter().find_map(|names| {
        names.iter().map(|name| object.get(*name).cloned()).collect::<Option<Vec<_>>>()
    });
    found.map_or(Cow::Borrowed(value), |values| Cow::Owned(values.into()))
}

/// Returns the numbers of a list or a text, with one level of lists in it; `None` if there is anything else.
pub(super) fn numbers(value: &Value) -> Option<Vec<f64>> {
    match value {
        Value::Number(number) => Some(vec![number.as_f64().filter(|value| value.is_finite())?]),
        Value::String(text) => numbers_of_text(text),
        Value::Array(items) => {
            let mut all = Vec::new();
            for item in items.iter().take(MAX_NUMBERS) {
                match item {
                    Value::Array(inner) => {
                        for item in inner.iter().take(MAX_NUMBERS) {
                            if item.is_array() {
                                return None;
                            }
                            all.extend(numbers(item)?);
                        }
                    }
                    Value::Object(_) => match &*as_list(item) {
                        Value::Array(inner) => {
                            for item in inner.iter().filter(|item| !item.is_array()) {
                                all.extend(numbers(item)?);
                            }
                        }
                        _ => return None,
                    },
                    item => all.extend(numbers(item)?),
                }
                if all.len() > MAX_NUMBERS {
                    return None;
                }
            }
            Some(all)
        }
        Value::Object(_) => match as_list(value) {
            std::borrow::Cow::Owned(list) => numbers(&list),
            std::borrow::Cow::Borrowed(_) => None,
        },
        _ => None,
    }
}

/// Returns the numbers of a text that consists of numbers, blanks, commas and brackets: `(1, 2), (3, 4)`.
pub(super) fn numbers_of_text(text: &str) -> Option<Vec<f64>> {
    let is_between =
        |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '(' | ')' | '[' | ']' | '<' | '>');
    let mut all = Vec::new();
    for word in text.split(is_between).filter(|word| !word.is_empty()) {
        let is_number = word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+'));
        let value: f64 = is_number.then(|| word.parse().ok()).flatten()?;
        if all.len() == MAX_NUMBERS || !value.is_finite() {
            return None;
        }
        all.push(value);
    }
    (!all.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_ways_to_write_a_shape() {
        let one = Shape::Box([1.0, 2.0, 3.0, 4.0]);
        let point = |x, y| Shape::Point([x, y]);
        for (value, is_point, shapes) in [
            (json!([1, 2, 3, 4]), false, vec![one.clone()]),
            (json!(["1", "2", "3.0", 4]), false, vec![one.clone()]),
            (json!("1 2 3 4"), false, vec![one.clone()]),
            (json!("1, 2, 3, 4"), false, vec![one.clone()]),
            (json!("(1,2),(3,4)"), false, vec![one.clone()]),
            (json!("[1, 2, 3, 4]"), false, vec![one.clone()]),
            (json!(["1 2 3 4"]), false, vec![one.clone()]),
            (json!([[1, 2], [3, 4]]), false, vec![one.clone()]),
            (json!([[1, 2, 3, 4]]), false, vec![one.clone()]),
            (json!({"x1": 1, "y1": 2, "x2": 3, "y2": 4}), false, vec![one.clone()]),
            (json!([[1, 2, 3, 4], [1, 2, 3, 4]]), false, vec![one.clone(), one.clone()]),
            (json!([1, 2, 3, 4]), true, vec![one]),
            (json!([1, 2]), true, vec![point(1.0, 2.0)]),
            (json!({"x": 1, "y": 2}), true, vec![point(1.0, 2.0)]),
            (
                json!([{"x": 1, "y": 2}, {"x": 3, "y": 4}]),
                true,
                vec![point(1.0, 2.0), point(3.0, 4.0)],
            ),
            (json!([[1, 2], [3, 4]]), true, vec![point(1.0, 2.0), point(3.0, 4.0)]),
            (
                json!([0, 0, 9, 0, 9, 9, 0, 9]),
                false,
                vec![Shape::Polygon(vec![[0.0, 0.0], [9.0, 0.0], [9.0, 9.0], [0.0, 9.0]])],
            ),
            (
                json!([[0, 0], [9, 0], [9, 9]]),
                false,
                vec![Shape::Polygon(vec![[0.0, 0.0], [9.0, 0.0], [9.0, 9.0]])],
            ),
            (json!([1, 2, 3]), false, vec![]),
            (json!([1, "left", 3, 4]), false, vec![]),
            (json!("x1 y1 x2 y2"), false, vec![]),
            (json!([]), false, vec![]),
            (json!(null), false, vec![]),
            (json!([[[[1, 2], [3, 4]]]]), false, vec![]),
        ] {
            assert_eq!(shapes_of(&value, is_point), shapes, "{value}");
        }
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        let huge: Value = serde_json::from_str("[1e999, 2, 3, 4]").unwrap();
        assert_eq!(shapes_of(&huge, false), []);
        assert_eq!(shapes_of(&json!("nan inf 1 2"), false), []);
    }
}
