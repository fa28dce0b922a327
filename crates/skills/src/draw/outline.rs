//! The lines of marks: in the mark's color, with an edge of black or white, so that they show on any ground.

use super::palette::ink;
use super::raster::{Color, Raster};
use crate::marks::Shape;

/// Draws lines of one width, as long as they are not too long together.
pub(super) struct Strokes {
    /// Half of the width of the colored line.
    radius: f64,
    /// The width of the edge on each side.
    edge: f64,
    /// The pixels that may still be drawn, in lengths of lines.
    left: f64,
    size: [f64; 2],
}

/// The lengths of all lines together, in outlines of the whole image: more than 1,000 boxes have.
const OUTLINES: f64 = 1_200.0;
/// What a line costs beside its length.
const LINE: f64 = 4.0;

impl Strokes {
    /// Chooses the width of lines by the size of an image.
    pub(super) fn of(canvas: &Raster) -> Self {
        let size = [f64::from(canvas.width), f64::from(canvas.height)];
        let (longer, shorter) = (size[0].max(size[1]), size[0].min(size[1]));
        let width = (longer / 350.0).min(shorter / 24.0).clamp(1.0, 6.0);
        let edge = (width / 3.0).clamp(0.75, 1.5);
        Self { radius: width / 2.0, edge, left: OUTLINES * 2.0 * (size[0] + size[1]) + 1e5, size }
    }

    /// Returns how far a line reaches from its middle.
    pub(super) fn reach(&self) -> f64 {
        self.radius + self.edge
    }

    /// Draws a shape. Returns whether it did: not if there would be too many lines.
    pub(super) fn draw(&mut self, canvas: &mut Raster, shape: &Shape, color: Color) -> bool {
        let lines = self.lines(shape);
        let length = |[from, to]: &[[f64; 2]; 2]| (to[0] - from[0]).hypot(to[1] - from[1]) + LINE;
        let cost: f64 = lines.iter().map(length).sum();
        if cost > self.left {
            return false;
        }
        self.left -= cost;
        let radius = match shape {
            Shape::Point(_) => self.radius * 3.5,
            _ => self.radius,
        };
        for (radius, color) in [(radius + self.edge, ink(color)), (radius, color)] {
            lines.iter().for_each(|line| canvas.line(*line, radius, color));
        }
        true
    }

    /// Returns the lines of a shape. A point is a line without length.
    fn lines(&self, shape: &Shape) -> Vec<[[f64; 2]; 2]> {
        let closed = |corners: &[[f64; 2]]| -> Vec<[[f64; 2]; 2]> {
            let next = corners.iter().cycle().skip(1);
            corners.iter().zip(next).map(|(from, to)| [*from, *to]).collect()
        };
        match shape {
            Shape::Box([left, top, right, bottom]) => {
                let [left, right] = [*left, *right].map(|x| self.inside(0, x));
                let [top, bottom] = [*top, *bottom].map(|y| self.inside(1, y));
                closed(&[[left, top], [right, top], [right, bottom], [left, bottom]])
            }
            Shape::Point(place) => vec![[*place, *place]],
            Shape::Polygon(corners) => {
                let corners: Vec<_> =
                    corners.iter().map(|[x, y]| [self.inside(0, *x), self.inside(1, *y)]).collect();
                closed(&corners)
            }
            Shape::Arrow([from, to]) => self.arrow(*from, *to),
        }
    }

    /// Moves a line that follows an edge of the image into it, so that it is seen whole.
    fn inside(&self, axis: usize, value: f64) -> f64 {
        let (reach, end) = (self.reach(), self.size[axis]);
        if end <= 2.0 * reach { end / 2.0 } else { value.clamp(reach, end - reach) }
    }

    /// Returns a line and the two of its head; of an arrow without length, a point.
    fn arrow(&self, from: [f64; 2], to: [f64; 2]) -> Vec<[[f64; 2]; 2]> {
        let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
        let length = dx.hypot(dy);
        if length < 1e-6 {
            return vec![[from, to]];
        }
        let head = (self.radius * 8.0).min(length / 2.0);
        let (ux, uy) = (dx / length, dy / length);
        let side =
            |turn: f64| [to, [to[0] - head * (ux - turn * uy), to[1] - head * (uy + turn * ux)]];
        vec![[from, to], side(0.6), side(-0.6)]
    }
}
