//! Reads events of a video with their times.

use serde_json::{Map, Value};

use super::coordinates::Space;
use super::warnings::{MAX_ITEMS, Trouble, Warnings, quoted};
use super::{Reading, repair, shapes, times};
use crate::marks::Mark;

const START_KEYS: [&str; 6] =
    ["start_time", "start", "start_s", "start_timestamp", "begin", "from"];
const END_KEYS: [&str; 6] = ["end_time", "end", "end_s", "end_timestamp", "finish", "to"];
/// Keys of a moment, of a range as a text, or of a list of both ends.
const TIME_KEYS: [&str; 8] =
    ["time", "timestamp", "timestamps", "time_range", "timerange", "interval", "segment", "span"];

/// Reads events: a list of objects, an object whose keys are times, or lines of text.
pub(super) fn read(text: &str, space: &Space<'_>) -> Reading {
    let mut warnings = Warnings::default();
    let values = repair::values(text, &mut warnings).values;
    let is_empty_list = matches!(values.as_slice(), [Value::Array(list)] if list.is_empty());
    let mut items = Vec::new();
    for value in values {
        flatten(value, &mut items, &mut warnings, true);
    }
    if items.is_empty() && !is_empty_list {
        warnings = Warnings::default();
        items = of_lines(text);
        if items.is_empty() {
            warnings.add(format!(
                "no events were found: expected [{{\"start_time\": \"mm:ss.ff\", \"end_time\": \"mm:ss.ff\", \
                 \"description\": …}}], found {}",
                quoted(text)
            ));
            return Reading { warnings: warnings.into_texts(), ..Reading::default() };
        }
        warnings.add("the answer is no JSON; events were read from its lines");
    }
    warnings.bound(&mut items);
    let mut marks: Vec<Mark> = Vec::new();
    for (index, item) in items.iter_mut().enumerate() {
        match time_of(item) {
            Some((start, end)) => {
                if start > end {
                    warnings.count(Trouble::EndsEarly, index);
                }
                item.insert("start_s".into(), start.min(end).into());
                item.insert("end_s".into(), start.max(end).into());
            }
            None => warnings.count(Trouble::NoTime, index),
        }
        if shapes::has_shape(item) {
            shapes::attach(item, index, space, &mut marks, &mut warnings);
        }
    }
    marks.truncate(MAX_ITEMS);
    let structured = items.into_iter().map(Value::from).collect::<Vec<_>>();
    Reading { structured: Some(structured.into()), marks, warnings: warnings.into_texts() }
}

/// Returns start and end of an event. A moment has both alike.
fn time_of(item: &Map<String, Value>) -> Option<(f64, f64)> {
    let of = |keys: &[&str]| keys.iter().filter_map(|key| item.get(*key)).find_map(times::seconds);
    match (of(&START_KEYS), of(&END_KEYS)) {
        (Some(start), Some(end)) => return Some((start, end)),
        (Some(time), None) | (None, Some(time)) => return Some((time, time)),
        (None, None) => {}
    }
    TIME_KEYS.iter().filter_map(|key| item.get(*key)).find_map(|value| match value {
        Value::Array(ends) => match ends.as_slice() {
            [start, end] => Some((times::seconds(start)?, times::seconds(end)?)),
            _ => None,
        },
        Value::String(text) => times::range(text),
        value => times::seconds(value).map(|time| (time, time)),
    })
}

fn flatten(
    value: Value,
    items: &mut Vec<Map<String, Value>>,
    warnings: &mut Warnings,
    is_outer: bool,
) {
    match value {
        Value::Object(object) if is_by_time(&object) => {
            for (time, value) in object {
                items.push(of_member(time, value));
            }
        }
        // A list under a key such as "events".
        Value::Object(mut object) if is_outer && is_around_list(&object) => {
            let list = object.values_mut().find(|value| value.is_array()).map(Value::take);
            flatten(list.unwrap_or_default(), items, warnings, true);
        }
        Value::Object(object) if !object.is_empty() => items.push(object),
        // `[start, end]` alone.
        Value::Array(ends) if is_range(&ends) => {
            items.push([("time".to_owned(), Value::Array(ends))].into_iter().collect());
        }
        Value::Array(list) if is_outer => {
            for value in list {
                flatten(value, items, warnings, false);
            }
        }
        Value::String(text) if let Some(item) = of_line(&text) => items.push(item),
        _ => warnings.count(Trouble::NotAnItem, items.len()),
    }
}

fn is_range(ends: &[Value]) -> bool {
    ends.len() == 2 && ends.iter().all(|end| times::seconds(end).is_some())
}

/// Returns whether an object's keys are times: `{"00:25.00 - 00:46.00": "…"}`.
fn is_by_time(object: &Map<String, Value>) -> bool {
    let is_number = |key: &String| key.bytes().all(|byte| byte.is_ascii_digit());
    object.keys().all(|key| times::range(key).is_some()) && !object.keys().all(is_number)
}

fn is_around_list(object: &Map<String, Value>) -> bool {
    time_of(object).is_none()
        && object
            .values()
            .any(|value| value.as_array().is_some_and(|list| list.iter().any(Value::is_object)))
}

fn of_member(time: String, value: Value) -> Map<String, Value> {
    let mut item = Map::new();
    item.insert("time".into(), time.into());
    match value {
        Value::Object(object) => item.extend(object),
        value => {
            item.insert("description".into(), value);
        }
    }
    item
}

/// Returns the events of lines such as `00:05 - 00:12: A door opens.`
fn of_lines(text: &str) -> Vec<Map<String, Value>> {
    text.lines().filter_map(of_line).take(MAX_ITEMS + 1).collect()
}

/// Finds the first time of a line, which may be in a sentence; the line without it is the description.
fn of_line(line: &str) -> Option<Map<String, Value>> {
    let line = line.trim().trim_start_matches(['-', '*', '•', '#', ' ']);
    let is_of_time = |c: char| c.is_ascii_digit() || matches!(c, ':' | '.');
    let mut found: Option<(usize, usize)> = None; // of the first time, and then of the range
    let mut is_range = false;
    let mut at = 0;
    while let Some(offset) = line[at..].find(|c: char| c.is_ascii_digit()) {
        let start = at + offset;
        let length = line[start..].find(|c| !is_of_time(c)).unwrap_or(line.len() - start);
        let end = start + line[start..start + length].trim_end_matches(['.', ':']).len();
        at = start + length;
        let unit = unit_after(&line[end..]);
        let is_time = times::of_text(&line[start..end]).is_some();
        match found {
            Some((first, last)) if is_time && is_between(&line[last..start]) => {
                found = Some((first, end + unit.unwrap_or(0)));
                is_range = true;
                break;
            }
            Some(_) => break,
            None if is_time
                && (line[start..end].contains(':')
                    || unit.is_some()
                    || is_before_range(&line[end..])) =>
            {
                found = Some((start, end + unit.unwrap_or(0)));
                at = at.max(end + unit.unwrap_or(0));
            }
            None => {}
        }
    }
    let (start, end) = found?;
    let time = &line[start..end];
    // Without a colon or a unit, only a range is a time.
    if times::range(time).is_none()
        || (!is_range
            && !time.contains(':')
            && unit_after(time.trim_start_matches(is_of_time)).is_none())
    {
        return None;
    }
    let is_edge = |c: char| {
        c.is_whitespace()
            || matches!(c, '<' | '>' | '[' | ']' | '(' | ')' | ':' | '-' | '–' | ',' | '*' | '"')
    };
    let (before, after) = (line[..start].trim_matches(is_edge), line[end..].trim_matches(is_edge));
    let description = if before.is_empty() { after } else { line };
    let mut item = Map::new();
    item.insert("time".into(), time.into());
    item.insert("description".into(), description.into());
    Some(item)
}

/// Returns the length of a unit of seconds at the beginning, with the space before it.
fn unit_after(text: &str) -> Option<usize> {
    let trimmed = text.strip_prefix(' ').unwrap_or(text);
    let word = trimmed.bytes().take(8).take_while(u8::is_ascii_alphabetic).count();
    ["s", "sec", "secs", "second", "seconds"]
        .contains(&&trimmed[..word])
        .then(|| text.len() - trimmed.len() + word)
}

/// Returns whether the text between two times makes a range of them.
fn is_between(text: &str) -> bool {
    let text = text.trim_matches([' ', '<', '>', '[', ']', '(', ')']);
    ["-", "–", "—", "~", "to", "and", "until"].contains(&text)
}

fn is_before_range(text: &str) -> bool {
    let text = text.trim_start();
    ["-", "–", "—", "~", "to "].iter().any(|between| text.starts_with(between))
}
