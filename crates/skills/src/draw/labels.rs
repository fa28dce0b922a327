//! Finds room for labels: within the image, and where possible not on each other.

use super::raster::{Area, Raster};
use crate::marks::Shape;

/// The rows above and below in which a label is put that has no room at its shape.
const ROWS: i32 = 6;

/// The labels that have a place.
pub(super) struct Labels {
    size: (i32, i32),
    placed: Vec<Area>,
}

impl Labels {
    pub(super) fn of(canvas: &Raster) -> Self {
        Self { size: (canvas.width as i32, canvas.height as i32), placed: Vec::new() }
    }

    /// Returns the place of the label of a shape, whose lines reach `reach` pixels beside it: the first of the places
    /// that is free, or that which hides the least of other labels. `None` if the image is smaller than the label.
    pub(super) fn place(&mut self, shape: &Shape, size: (i32, i32), reach: f64) -> Option<Area> {
        let (width, height) = size;
        if width > self.size.0 || height > self.size.1 {
            return None;
        }
        let mut best: Option<(i64, Area)> = None;
        let near = places(&bounds(shape)?, shape, size, reach);
        let farther = (1..=ROWS).flat_map(|row| [-row * height, row * height]);
        let far: Vec<(i32, i32)> = farther
            .flat_map(|by| near.iter().take(2).map(move |(x, y)| (*x, y.saturating_add(by))))
            .collect();
        for (x, y) in near.into_iter().chain(far) {
            let (left, top) = (x.clamp(0, self.size.0 - width), y.clamp(0, self.size.1 - height));
            let area = Area { left, top, right: left + width, bottom: top + height };
            // One that had to be moved is worse than none that had, but better than one that hides something.
            let moved = i64::from((left, top) != (x, y));
            let least = best.map_or(i64::MAX, |(least, _)| least);
            let mut cost = moved;
            for other in &self.placed {
                cost += 2 * area.shared(other);
                if cost >= least {
                    break;
                }
            }
            if cost < least {
                best = Some((cost, area));
            }
            if cost == 0 {
                break;
            }
        }
        let (_, area) = best?;
        self.placed.push(area);
        Some(area)
    }
}

/// Returns left, top, right and bottom of a shape; of an arrow, of its target.
fn bounds(shape: &Shape) -> Option<[f64; 4]> {
    Some(match shape {
        Shape::Box(edges) => *edges,
        Shape::Point([x, y]) | Shape::Arrow([_, [x, y]]) => [*x, *y, *x, *y],
        Shape::Polygon(corners) => {
            let [x, y] = *corners.first()?;
            corners.iter().fold([x, y, x, y], |[left, top, right, bottom], [x, y]| {
                [left.min(*x), top.min(*y), right.max(*x), bottom.max(*y)]
            })
        }
    })
}

/// Returns left upper corners for a label, the best first: above the shape, within it, below it, beside it.
fn places(
    [left, top, right, bottom]: &[f64; 4],
    shape: &Shape,
    (width, height): (i32, i32),
    reach: f64,
) -> Vec<(i32, i32)> {
    let [near, far] = [reach.floor() as i32, (reach * 3.0).ceil() as i32];
    let [left, top] = [left, top].map(|edge| edge.floor() as i32);
    let [right, bottom] = [right, bottom].map(|edge| edge.ceil() as i32);
    let middle = (top + bottom - height) / 2;
    match shape {
        Shape::Box(_) | Shape::Polygon(_) => vec![
            (left - near, top - near - height),
            (left - near, top - near),
            (left - near, bottom + near),
            (right + near - width, top - near - height),
            (right + near - width, top - near),
            (right + near - width, bottom + near),
            (left - near, bottom + near - height),
            (right + near - width, bottom + near - height),
            (right + near, middle),
            (left - near - width, middle),
            (right + near, top - near),
            (left - near - width, top - near),
        ],
        Shape::Point(_) | Shape::Arrow(_) => vec![
            (right + far, middle),
            (left - far - width, middle),
            (left - width / 2, top - far - height),
            (left - width / 2, bottom + far),
            (right + far, top - far - height),
            (right + far, bottom + far),
            (left - far - width, top - far - height),
            (left - far - width, bottom + far),
        ],
    }
}
