//! Reads the actions of an agent, refuses those that its skill does not have, and maps their coordinates.

use protocol::SkillUse;
use serde_json::{Map, Value};

use super::calls::{self, Call};
use super::coordinates::{Space, to_json};
use super::warnings::{MAX_ITEMS, Trouble, Warnings, quoted};
use super::{Answer, Reading, shapes};
use crate::marks::{Mark, Shape};

/// Arguments that are points.
const POINTS: [&str; 4] = ["coordinate", "coordinate2", "start_coordinate", "end_coordinate"];

/// Reads actions. `text` is the answer's without reasoning.
pub(super) fn read(
    answer: &Answer<'_>,
    text: &str,
    skill: &SkillUse,
    space: &Space<'_>,
) -> Reading {
    let mut warnings = Warnings::default();
    let mut calls = if answer.calls.is_empty() {
        calls::of_text(text, answer.is_cut, &mut warnings)
    } else {
        calls::of_engine(text, answer.calls, answer.is_cut, &mut warnings)
    };
    let has_calls = !calls.is_empty();
    calls.retain(|call| {
        let action = action(call);
        let is_allowed =
            skill.actions.is_empty() || skill.actions.iter().any(|allowed| allowed == action);
        if !is_allowed {
            warnings.add(format!(
                "the action {} was left out: allowed are {}",
                quoted(action),
                skill.actions.join(", ")
            ));
        }
        is_allowed
    });
    for index in MAX_ITEMS..calls.len() {
        warnings.count(Trouble::TooMany, index);
    }
    calls.truncate(MAX_ITEMS);
    if calls.is_empty() {
        if !has_calls {
            warnings.add(format!(
                "no actions were found: expected <tool_call>{{\"name\": …, \"arguments\": {{…}}}}</tool_call>, found {}",
                quoted(text)
            ));
        }
        return Reading { warnings: warnings.into_texts(), ..Reading::default() };
    }
    let mut marks = Vec::new();
    let actions: Vec<Value> = calls
        .into_iter()
        .enumerate()
        .map(|(index, call)| to_item(call, index, space, &mut marks, &mut warnings))
        .collect();
    Reading { structured: Some(actions.into()), marks, warnings: warnings.into_texts() }
}

/// Returns what a call does: functions such as `computer_use` have their action among the arguments.
fn action(call: &Call) -> &str {
    call.arguments.get("action").and_then(Value::as_str).unwrap_or(&call.name)
}

fn to_item(
    call: Call,
    index: usize,
    space: &Space<'_>,
    marks: &mut Vec<Mark>,
    warnings: &mut Warnings,
) -> Value {
    let label: String = action(&call).chars().take(200).collect();
    let pixels = pixels_of(&call.arguments, &label, index, space, marks, warnings);
    let mut item = Map::new();
    if let Some(thought) = call.thought {
        item.insert("thought".into(), thought.into());
    }
    item.insert("name".into(), call.name.into());
    item.insert("arguments".into(), call.arguments.into());
    if !pixels.is_empty() {
        item.insert("pixels".into(), pixels.into());
    }
    item.into()
}

/// Maps the points and the box of an action; marks the way of a drag, a point, or a box.
fn pixels_of(
    arguments: &Map<String, Value>,
    label: &str,
    index: usize,
    space: &Space<'_>,
    marks: &mut Vec<Mark>,
    warnings: &mut Warnings,
) -> Map<String, Value> {
    let mut pixels = Map::new();
    let mut points: [Option<[f64; 2]>; 4] = [None; 4];
    let shape_of = |key: &str, is_point: bool| {
        arguments
            .get(key)
            .filter(|value| !value.is_null())
            .map(|value| shapes::shapes_of(value, is_point))
    };
    let area = shape_of("bbox_2d", false);
    let found: Vec<_> = POINTS.iter().map(|key| shape_of(key, true)).collect();
    if area.is_none() && found.iter().all(Option::is_none) {
        return pixels;
    }
    let Some(picture) = space.picture_of(arguments, index, warnings) else { return pixels };
    let mut mark = |shape| marks.push(Mark { picture, shape, label: Some(label.to_owned()) });
    for ((key, shapes), point) in POINTS.iter().zip(found).zip(&mut points) {
        let Some(shapes) = shapes else { continue };
        let shape = match shapes.as_slice() {
            [shape @ Shape::Point(_)] => Some(shape.clone()),
            // A box in the place of a point means its middle.
            [Shape::Box([x1, y1, x2, y2])] => {
                Some(Shape::Point([f64::midpoint(*x1, *x2), f64::midpoint(*y1, *y2)]))
            }
            _ => None,
        };
        match shape.and_then(|shape| space.map(&shape, picture, index, warnings)) {
            Some(shape) => {
                pixels.insert((*key).into(), to_json(&shape).1);
                if let Shape::Point(at) = shape {
                    *point = Some(at);
                }
            }
            None => warnings.count(Trouble::Unreadable, index),
        }
    }
    let [coordinate, second, start, end] = points;
    match (start.or(coordinate), second.or(end).or(start.and(coordinate))) {
        (Some(from), Some(to)) => mark(Shape::Arrow([from, to])),
        (Some(at), None) | (None, Some(at)) => mark(Shape::Point(at)),
        (None, None) => {}
    }
    if let Some(area) = area {
        match area.first().and_then(|shape| space.map(shape, picture, index, warnings)) {
            Some(shape) => {
                let (key, value) = to_json(&shape);
                pixels.insert(key.into(), value);
                mark(shape);
            }
            None => warnings.count(Trouble::Unreadable, index),
        }
    }
    pixels
}
