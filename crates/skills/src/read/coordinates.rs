//! Maps coordinates as a model writes them to pixels of the images that the client sent.

use protocol::{SkillUse, VisionFamily};
use serde_json::{Map, Value};

use super::warnings::{Trouble, Warnings};
use crate::marks::{Picture, Shape};

/// The coordinate of the right and the lower edge in Qwen2-VL.
const SCALE_OF_QWEN2: f64 = 1000.0;
/// Keys whose value is the index of the image that an item is on.
const INDEX_KEYS: [&str; 5] = ["image", "img_idx", "image_index", "image_idx", "image_id"];
/// The most corners of a polygon.
const MAX_CORNERS: usize = 1_000;

/// What coordinates refer to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Space<'a> {
    family: VisionFamily,
    scale: f64,
    pictures: &'a [Picture],
    /// The image of items that name none.
    default: usize,
}

impl<'a> Space<'a> {
    /// Items that name no image are on the first.
    pub(super) fn new(skill: &SkillUse, family: VisionFamily, pictures: &'a [Picture]) -> Self {
        let scale = match family {
            VisionFamily::Qwen2Vl => SCALE_OF_QWEN2,
            VisionFamily::Qwen25Vl | VisionFamily::Qwen3Vl => f64::from(skill.scale.max(1)),
        };
        Self { family, scale, pictures, default: 0 }
    }

    /// The same, but items that name no image are on the last: the newest screenshot.
    pub(super) fn of_last(self) -> Self {
        Self { default: self.pictures.len().saturating_sub(1), ..self }
    }

    /// The family of the model.
    pub(super) const fn family(&self) -> VisionFamily {
        self.family
    }

    /// Returns the index of the image that an item is on; `None` if there is no such image.
    pub(super) fn picture_of(
        &self,
        item: &Map<String, Value>,
        index: usize,
        warnings: &mut Warnings,
    ) -> Option<usize> {
        if self.pictures.is_empty() {
            warnings.add("the prompt has no image, so coordinates are not mapped to pixels");
            return None;
        }
        let named = INDEX_KEYS.iter().find_map(|key| item.get(*key).filter(|value| value.is_i64()));
        let picture = match named {
            Some(named) => named.as_u64().and_then(|named| usize::try_from(named).ok()),
            None => Some(self.default),
        };
        let picture = picture.filter(|picture| *picture < self.pictures.len());
        if picture.is_none() {
            warnings.count(Trouble::NoPicture, index);
        }
        picture
    }

    /// Maps a shape to pixels: clamps it to the image and orders its corners.
    pub(super) fn map(
        &self,
        shape: &Shape,
        picture: usize,
        index: usize,
        warnings: &mut Warnings,
    ) -> Option<Shape> {
        let axes = self.axes(self.pictures.get(picture)?);
        let mut is_clamped = false;
        let mut point = |[x, y]: [f64; 2]| {
            let (x, y) = (axes[0].map(x), axes[1].map(y));
            is_clamped |= x.1 || y.1;
            [x.0, y.0]
        };
        let mapped = match shape {
            Shape::Box([x1, y1, x2, y2]) => {
                let ([x1, y1], [x2, y2]) = (point([*x1, *y1]), point([*x2, *y2]));
                if x1 > x2 || y1 > y2 {
                    warnings.count(Trouble::Swapped, index);
                }
                Shape::Box([x1.min(x2), y1.min(y2), x1.max(x2), y1.max(y2)])
            }
            Shape::Point(at) => Shape::Point(point(*at)),
            Shape::Polygon(corners) => {
                Shape::Polygon(corners.iter().take(MAX_CORNERS).map(|at| point(*at)).collect())
            }
            Shape::Arrow([from, to]) => Shape::Arrow([point(*from), point(*to)]),
        };
        if is_clamped {
            warnings.count(Trouble::Clamped, index);
        }
        Some(mapped)
    }

    fn axes(&self, picture: &Picture) -> [Axis; 2] {
        let axis = |size: u32, seen: u32| Axis {
            size: f64::from(size),
            range: match self.family {
                VisionFamily::Qwen25Vl => f64::from(seen.max(1)),
                VisionFamily::Qwen2Vl | VisionFamily::Qwen3Vl => self.scale,
            },
        };
        [axis(picture.size.0, picture.seen.0), axis(picture.size.1, picture.seen.1)]
    }
}

/// Width or height of an image.
struct Axis {
    /// In pixels of the client's image.
    size: f64,
    /// In the model's coordinates.
    range: f64,
}

impl Axis {
    /// Returns the pixel, and whether it was further off the image than a rounding: one unit of the model's.
    fn map(&self, value: f64) -> (f64, bool) {
        let value = if value.is_finite() { value } else { 0.0 };
        let is_outside = !(-1.0..=self.range + 1.0).contains(&value);
        ((value / self.range * self.size).clamp(0.0, self.size), is_outside)
    }
}

/// Returns a shape in pixels as JSON, rounded to two decimals, with the key that says what it is.
pub(super) fn to_json(shape: &Shape) -> (&'static str, Value) {
    let point = |[x, y]: &[f64; 2]| Value::from(vec![rounded(*x), rounded(*y)]);
    match shape {
        Shape::Box(edges) => {
            ("box", edges.iter().map(|edge| rounded(*edge)).collect::<Vec<_>>().into())
        }
        Shape::Point(at) => ("point", point(at)),
        Shape::Polygon(corners) => {
            ("polygon", corners.iter().map(point).collect::<Vec<_>>().into())
        }
        Shape::Arrow(ends) => ("arrow", ends.iter().map(point).collect::<Vec<_>>().into()),
    }
}

fn rounded(value: f64) -> Value {
    let value = (value * 100.0).round() / 100.0;
    if value.fract() == 0.0 { Value::from(value as i64) } else { Value::from(value) }
}

#[cfg(test)]
mod tests {
    use protocol::SkillOutput;

    use super::*;

    fn mapped(
        family: VisionFamily,
        scale: u32,
        picture: Picture,
        shape: Shape,
    ) -> (Shape, Vec<String>) {
        let skill = SkillUse {
            name: "spatial".into(),
            output: SkillOutput::Boxes,
            scale,
            actions: Vec::new(),
            draw: false,
            command: None,
        };
        let (pictures, mut warnings) = ([picture], Warnings::default());
        let space = Space::new(&skill, family, &pictures);
        let mapped = space.map(&shape, 0, 0, &mut warnings).unwrap();
        (mapped, warnings.into_texts())
    }

    #[test]
    fn a_large_page_comes_back_exactly() {
        // 3000 × 4000, which Qwen2.5-VL sees as 1932 × 2576 with half of its usual pixels.
        let page = Picture { size: (3000, 4000), seen: (1932, 2576) };
        for (family, scale, from, to) in [
            (VisionFamily::Qwen25Vl, 1000, [0.0, 0.0, 1932.0, 2576.0], [0.0, 0.0, 3000.0, 4000.0]),
            (
                VisionFamily::Qwen25Vl,
                1000,
                [966.0, 1288.0, 1449.0, 1932.0],
                [1500.0, 2000.0, 2250.0, 3000.0],
            ),
            (VisionFamily::Qwen25Vl, 999, [1.0, 1.0, 2.0, 2.0], [1.55, 1.55, 3.11, 3.11]),
            (VisionFamily::Qwen3Vl, 1000, [1.0, 1.0, 500.0, 999.0], [3.0, 4.0, 1500.0, 3996.0]),
            (
                VisionFamily::Qwen3Vl,
                999,
                [0.0, 333.0, 999.0, 999.0],
                [0.0, 4000.0 / 3.0, 3000.0, 4000.0],
            ),
            (VisionFamily::Qwen2Vl, 999, [1.0, 1.0, 500.0, 999.0], [3.0, 4.0, 1500.0, 3996.0]),
        ] {
            let (shape, warnings) = mapped(family, scale, page, Shape::Box(from));
            let Shape::Box(edges) = shape else { panic!() };
            let is_near = edges.iter().zip(to).all(|(edge, exact)| (edge - exact).abs() < 0.01);
            assert!(is_near, "{family:?} {from:?}: {edges:?}, not {to:?}");
            assert!(warnings.is_empty());
        }
    }

    #[test]
    fn what_lies_outside_is_clamped_and_said() {
        let picture = Picture { size: (500, 200), seen: (504, 196) };
        for (family, from, to, warns) in [
            (VisionFamily::Qwen3Vl, [-1.0, 0.0, 1001.0, 1000.0], [0.0, 0.0, 500.0, 200.0], false),
            (VisionFamily::Qwen3Vl, [0.0, 0.0, 1002.0, 1000.0], [0.0, 0.0, 500.0, 200.0], true),
            (VisionFamily::Qwen3Vl, [-5.0, -9e30, f64::NAN, 1000.0], [0.0, 0.0, 0.0, 200.0], true),
            (VisionFamily::Qwen25Vl, [0.0, 0.0, 505.0, 196.0], [0.0, 0.0, 500.0, 200.0], false),
            (VisionFamily::Qwen25Vl, [0.0, 0.0, 504.0, 1000.0], [0.0, 0.0, 500.0, 200.0], true),
        ] {
            let (shape, warnings) = mapped(family, 1000, picture, Shape::Box(from));
            assert_eq!(shape, Shape::Box(to), "{from:?}");
            assert_eq!(warnings.len(), usize::from(warns), "{from:?}: {warnings:?}");
        }
    }

    #[test]
    fn an_image_without_a_size_divides_by_nothing() {
        let picture = Picture { size: (0, 0), seen: (0, 0) };
        for family in [VisionFamily::Qwen2Vl, VisionFamily::Qwen25Vl, VisionFamily::Qwen3Vl] {
            let (shape, _) = mapped(family, 0, picture, Shape::Point([5.0, 5.0]));
            assert_eq!(shape, Shape::Point([0.0, 0.0]));
        }
    }
}
