//! The colors of labels.

use std::collections::HashMap;

use super::raster::Color;
use crate::marks::Mark;

/// Colors that differ from each other, also for people who see red and green alike: hues of all kinds, light and dark in
/// turn.
const COLORS: [Color; 12] = [
    [230, 25, 75],
    [0, 130, 200],
    [245, 190, 0],
    [60, 160, 75],
    [145, 30, 180],
    [245, 130, 48],
    [70, 220, 230],
    [240, 50, 230],
    [0, 100, 100],
    [190, 235, 60],
    [120, 70, 20],
    [20, 40, 160],
];

const BLACK: Color = [0, 0, 0];
const WHITE: Color = [255, 255, 255];

/// The color of each label.
#[derive(Debug, Clone)]
pub(super) struct Palette(HashMap<String, usize>);

impl Palette {
    /// Gives the labels colors in the order in which they come.
    pub(super) fn of(marks: &[Mark]) -> Self {
        let mut places = HashMap::new();
        for label in marks.iter().filter_map(|mark| mark.label.as_deref()) {
            if !places.contains_key(label) {
                places.insert(label.to_owned(), places.len());
            }
        }
        Self(places)
    }

    /// Returns the color of a mark. Those without a label share one.
    pub(super) fn color(&self, mark: &Mark) -> Color {
        let place = mark.label.as_deref().and_then(|label| self.0.get(label));
        COLORS[place.copied().unwrap_or_default() % COLORS.len()]
    }
}

/// Returns black or white: what is seen better on a color.
pub(super) fn ink(color: Color) -> Color {
    // The weights of ITU-R BT.601.
    let [red, green, blue] = color.map(u32::from);
    if red * 299 + green * 587 + blue * 114 > 140_000 { BLACK } else { WHITE }
}
