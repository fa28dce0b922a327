//! Reads what a model answered: parses it, repairs what can be repaired, and maps coordinates to the images.
//!
//! Nothing here does I/O, panics, or takes more than linear time, whatever the answer.
//!
//! | module | contents |
//! |--------|----------|
//! | `fence` | finds the payload: without reasoning, fences, and words around it |
//! | `repair` | a strict, then a tolerant parser of JSON |
//! | `shapes`, `coordinates` | boxes, points and polygons as models write them, and in pixels |
//! | `objects` | lists of objects with boxes or points; `grounding` reads those of Qwen2-VL |
//! | `html`, `markdown` | documents |
//! | `events`, `times` | events of videos |
//! | `actions`, `calls` | actions of agents |
//! | `json` | any other JSON |

mod actions;
mod calls;
mod coordinates;
mod events;
mod fence;
mod grounding;
mod html;
mod json;
mod markdown;
mod objects;
mod repair;
mod shapes;
mod times;
mod warnings;

use protocol::{SkillOutput, SkillUse, ToolCall, VisionFamily};
use serde_json::Value;

use self::coordinates::Space;
use crate::marks::{Mark, Picture};

/// What a model answered.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// The text.
    pub text: &'a str,
    /// The functions that it calls, as far as the engine has split them off.
    pub calls: &'a [ToolCall],
    /// Whether it ended because of its length.
    pub is_cut: bool,
}

/// What an answer says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// The answer as a value; `None` if it can't be read, which a warning explains.
    pub structured: Option<Value>,
    /// What is marked on the images.
    pub marks: Vec<Mark>,
    /// What was repaired or left out.
    pub warnings: Vec<String>,
}

/// Reads an answer to a prompt with `pictures`, by a model of `family`.
pub fn read(
    answer: &Answer<'_>,
    skill: &SkillUse,
    family: VisionFamily,
    pictures: &[Picture],
) -> Reading {
    let space = Space::new(skill, family, pictures);
    let mut reading = match fence::without_reasoning(answer.text) {
        Some(text) => read_text(answer, text, skill, &space),
        None => Reading {
            warnings: vec!["the answer ends within its reasoning".into()],
            ..Reading::default()
        },
    };
    if answer.is_cut {
        reading
            .warnings
            .insert(0, "the answer ended at its limit of tokens; its end may be missing".into());
    }
    reading
}

/// Reads an answer. `text` is its text without reasoning.
fn read_text(answer: &Answer<'_>, text: &str, skill: &SkillUse, space: &Space<'_>) -> Reading {
    match skill.output {
        SkillOutput::Text => text_of(text),
        SkillOutput::Json => json::read(text),
        SkillOutput::Html => html::read(text, space),
        SkillOutput::Markdown => markdown::read(text, space),
        SkillOutput::Boxes => {
            objects::read(text, space, r#"[{"bbox_2d": [x1, y1, x2, y2], "label": …}]"#)
        }
        SkillOutput::Points => objects::read(text, space, r#"[{"point_2d": [x, y], "label": …}]"#),
        SkillOutput::Events => events::read(text, space),
        SkillOutput::Actions => actions::read(answer, text, skill, &space.of_last()),
    }
}

/// Reads plain text: without a fence around all of it.
fn text_of(text: &str) -> Reading {
    let (text, _) = fence::unwrapped(text, &["text", "txt", "plaintext"]);
    Reading { structured: Some(text.into()), ..Reading::default() }
}
