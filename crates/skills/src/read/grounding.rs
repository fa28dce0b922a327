//! Reads boxes as Qwen2-VL writes them: `<|object_ref_start|>name<|object_ref_end|><|box_start|>(x1,y1),(x2,y2)<|box_end|>`,
//! Qwen-VL's `<ref>name</ref><box>(x1,y1),(x2,y2)</box>`, and the same without tags, which some tokenizers drop.

use serde_json::{Map, Value};

/// What begins a name, a box or a quadrilateral.
const TAGS: [&str; 5] =
    ["<|object_ref_start|>", "<|box_start|>", "<|quad_start|>", "<ref>", "<box>"];

/// Returns whether a text has tags of boxes.
pub(super) fn has_tags(text: &str) -> bool {
    TAGS.iter().any(|tag| text.contains(tag))
}

/// The most characters of a name.
const MAX_NAME: usize = 200;

/// Returns an item for each run of pairs `(x,y),(x,y)`, named by the words before it, or else by those of the item
/// before; and whether the text ends within a run.
pub(super) fn items(text: &str) -> (Vec<Map<String, Value>>, bool) {
    let mut items = Vec::new();
    let mut label = String::new();
    let mut words = String::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if character == '('
            && let Some((numbers, after)) = pairs(rest)
        {
            if is_cut(after) {
                return (items, true);
            }
            let name = words.trim().trim_matches([',', ':', ';', '.', '-', '*']).trim();
            if name.contains(char::is_alphanumeric) {
                label = name.chars().take(MAX_NAME).collect();
            }
            words.clear();
            let key = match numbers.len() {
                2 => "point_2d",
                4 => "bbox_2d",
                _ => "polygon",
            };
            let mut item = Map::new();
            item.insert(key.into(), numbers.into());
            if !label.is_empty() {
                item.insert("label".into(), label.clone().into());
            }
            items.push(item);
            rest = after;
            continue;
        }
        if character == '<'
            && let Some(length) = tag(rest)
        {
            // A name stands between its tags; the words before are of a sentence.
            if rest.starts_with("<|object_ref_start|>") || rest.starts_with("<ref>") {
                words.clear();
            }
            rest = &rest[length..];
            continue;
        }
        if character == '\n' {
            words.clear();
        } else {
            words.push(character);
        }
        rest = &rest[character.len_utf8()..];
    }
    let is_open = text.rfind("<|box_start|>") > text.rfind("<|box_end|>");
    (items, is_open)
}

/// Returns whether a run of pairs goes on, but has no end.
fn is_cut(after: &str) -> bool {
    let after = after.trim_start();
    let next = after.strip_prefix(',').map_or(after, str::trim_start);
    after.len() != next.len()
        && (next.is_empty() || next.starts_with('(') && next.len() < 40 && !next.contains(')'))
}

/// Returns the length of the tag that the text begins with.
fn tag(text: &str) -> Option<usize> {
    const NAMES: [&str; 10] = [
        "<|object_ref_start|>",
        "<|object_ref_end|>",
        "<|box_start|>",
        "<|box_end|>",
        "<|quad_start|>",
        "<|quad_end|>",
        "<ref>",
        "</ref>",
        "<box>",
        "</box>",
    ];
    NAMES.iter().find(|name| text.starts_with(**name)).map(|name| name.len())
}

/// Returns the numbers of `(x,y),(x,y)…` and the text behind it.
fn pairs(text: &str) -> Option<(Vec<Value>, &str)> {
    let mut numbers = Vec::new();
    let mut rest = text;
    while numbers.len() < 64 {
        let Some(inner) = rest.trim_start().trim_start_matches(',').trim_start().strip_prefix('(')
        else {
            break;
        };
        // No number is that long; the end of a text that has no bracket is not looked for.
        let window = inner.char_indices().nth(40).map_or(inner, |(end, _)| &inner[..end]);
        let Some(end) = window.find(')') else { break };
        let pair = super::shapes::numbers_of_text(&inner[..end]).filter(|pair| pair.len() == 2);
        let Some(pair) = pair else { break };
        numbers.extend(pair.into_iter().map(|value| {
            if value.fract() == 0.0 && value.abs() < 1e15 {
                Value::from(value as i64)
            } else {
                Value::from(value)
            }
        }));
        rest = &inner[end + 1..];
    }
    (!numbers.is_empty()).then_some((numbers, rest))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tags_and_what_remains_without_them() {
        let two = json!([{"bbox_2d": [1, 2, 3, 4], "label": "a cat"}, {"bbox_2d": [5, 6, 7, 8], "label": "a cat"}]);
        for (text, items_of_text) in [
            (
                "<|object_ref_start|>a cat<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|><|box_start|>(5,6),(7,8)<|box_end|>",
                two.clone(),
            ),
            ("<ref>a cat</ref><box>(1,2),(3,4)</box><box>(5, 6), (7, 8)</box>", two),
            ("I see a cat(1,2),(3,4)", json!([{"bbox_2d": [1, 2, 3, 4], "label": "I see a cat"}])),
            (
                "I see <|object_ref_start|>it<|object_ref_end|><|box_start|>(1,2)<|box_end|>",
                json!([{"point_2d": [1, 2], "label": "it"}]),
            ),
            ("<|box_start|>(1,2),(3,4)<|box_end|>", json!([{"bbox_2d": [1, 2, 3, 4]}])),
            (
                "<|quad_start|>(1,2),(3,2),(3,4),(1,4)<|quad_end|>",
                json!([{"polygon": [1, 2, 3, 2, 3, 4, 1, 4]}]),
            ),
            (
                "<|box_start|>(1,2),(3,4)<|box_end|><|box_start|>(1,2),(3,",
                json!([{"bbox_2d": [1, 2, 3, 4]}]),
            ),
            ("no (boxes) here", json!([])),
        ] {
            assert_eq!(
                Value::from_iter(items(text).0.into_iter().map(Value::from)),
                items_of_text,
                "{text}"
            );
        }
    }
}
