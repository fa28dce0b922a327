//! What a command is told, and what it replies.

use protocol::{SkillUse, VisionFamily, VisualKind};
use serde::Deserialize;
use serde_json::{Value, json};
use skills::marks::{Mark, Picture, Shape};
use skills::read::{Answer, Reading};

/// The most warnings of a reply, and the most letters of each.
const WARNINGS: (usize, usize) = (100, 500);
/// The most letters of a mark's label.
const LABEL: usize = 200;

/// Returns what a command is told, as JSON.
pub(super) fn told(
    answer: &Answer<'_>,
    skill: &SkillUse,
    family: Option<VisionFamily>,
    pictures: &[(VisualKind, Picture)],
) -> String {
    let picture = |(kind, picture): &(VisualKind, Picture)| {
        json!({
            "kind": kind.noun(),
            "width": picture.size.0, "height": picture.size.1,
            "seen_width": picture.seen.0, "seen_height": picture.seen.1,
        })
    };
    json!({
        "skill": skill.name,
        "text": answer.text,
        "tool_calls": answer.calls,
        "is_cut": answer.is_cut,
        "images": pictures.iter().map(picture).collect::<Vec<Value>>(),
        "family": family.map(VisionFamily::as_str),
    })
    .to_string()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reply {
    #[serde(default)]
    structured: Option<Value>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    marks: Vec<ReplyMark>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplyMark {
    #[serde(default)]
    image: usize,
    #[serde(default, rename = "box")]
    edges: Option<[f64; 4]>,
    #[serde(default)]
    point: Option<[f64; 2]>,
    #[serde(default)]
    polygon: Option<Vec<[f64; 2]>>,
    #[serde(default)]
    arrow: Option<[[f64; 2]; 2]>,
    #[serde(default)]
    label: Option<String>,
}

/// Reads a reply. Marks outside of their image are moved into it; those that can't be used are left out.
///
/// # Errors
/// If it is not JSON of the form that docs/SKILLS.md describes.
pub(super) fn parse(output: &[u8], pictures: &[(VisualKind, Picture)]) -> Result<Reading, String> {
    let reply: Reply = serde_json::from_slice(output)
        .map_err(|error| format!("its output is not the JSON that is expected: {error}"))?;
    let mut warnings: Vec<String> =
        reply.warnings.iter().map(|text| cut(text, WARNINGS.1)).collect();
    warnings.truncate(WARNINGS.0);
    let given = reply.marks.len();
    let marks: Vec<Mark> =
        reply.marks.into_iter().filter_map(|mark| mark.checked(pictures)).collect();
    if marks.len() < given {
        let lost = given - marks.len();
        warnings.push(format!("{lost} marks of the command have no shape, or no image"));
    }
    Ok(Reading { structured: reply.structured, marks, warnings })
}

impl ReplyMark {
    fn checked(self, pictures: &[(VisualKind, Picture)]) -> Option<Mark> {
        let (_, Picture { size, .. }) = pictures.get(self.image)?;
        let ends = [f64::from(size.0), f64::from(size.1)];
        // JSON has no numbers that are not finite.
        let within = |[x, y]: [f64; 2]| [x.clamp(0.0, ends[0]), y.clamp(0.0, ends[1])];
        let shape = match (self.edges, self.point, self.polygon, self.arrow) {
            (Some([left, top, right, bottom]), None, None, None) => {
                let ([a, b], [c, d]) = (within([left, top]), within([right, bottom]));
                Shape::Box([a.min(c), b.min(d), a.max(c), b.max(d)])
            }
            (None, Some(place), None, None) => Shape::Point(within(place)),
            (None, None, Some(corners), None) if !corners.is_empty() => {
                Shape::Polygon(corners.into_iter().map(within).collect())
            }
            (None, None, None, Some(ends)) => Shape::Arrow(ends.map(within)),
            _ => return None,
        };
        let label = self.label.map(|label| cut(&label, LABEL));
        Some(Mark { picture: self.image, shape, label })
    }
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}
