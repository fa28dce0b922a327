//! Pixels, and what is drawn with them.

/// A color: red, green and blue.
pub(super) type Color = [u8; 3];

/// An image in RGB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raster {
    /// Pixels in a row.
    pub width: u32,
    /// The number of rows.
    pub height: u32,
    /// `[height, width, 3]`
    pub rgb: Vec<u8>,
}

/// A rectangle of whole pixels; right and bottom are behind its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) left: i32,
    pub(super) top: i32,
    pub(super) right: i32,
    pub(super) bottom: i32,
}

impl Area {
    /// Returns the area without a margin.
    pub(super) fn inset(self, margin: i32) -> Self {
        Self {
            left: self.left + margin,
            top: self.top + margin,
            right: self.right - margin,
            bottom: self.bottom - margin,
        }
    }

    /// Returns the number of pixels that both have.
    pub(super) fn shared(&self, other: &Self) -> i64 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        i64::from(width.max(0)) * i64::from(height.max(0))
    }
}

impl Raster {
    /// Returns whether it has pixels, as many as its size says.
    pub(super) fn is_whole(&self) -> bool {
        let bytes = u64::from(self.width) * u64::from(self.height) * 3;
        bytes > 0 && self.rgb.len() as u64 == bytes
    }

    /// Mixes a color into a pixel; does nothing outside of the image.
    pub(super) fn blend(&mut self, x: i32, y: i32, color: Color, alpha: u8) {
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { return };
        if x >= self.width || y >= self.height {
            return;
        }
        let start = (y as usize * self.width as usize + x as usize) * 3;
        let alpha = u32::from(alpha);
        for (held, new) in self.rgb[start..start + 3].iter_mut().zip(color) {
            let mixed = u32::from(*held) * (255 - alpha) + u32::from(new) * alpha;
            *held = ((mixed + 127) / 255) as u8;
        }
    }

    /// Colors an area.
    pub(super) fn fill(&mut self, area: Area, color: Color) {
        let (width, height) = (self.width as i32, self.height as i32);
        for y in area.top.max(0)..area.bottom.min(height) {
            for x in area.left.max(0)..area.right.min(width) {
                self.blend(x, y, color, 255);
            }
        }
    }

    /// Draws a line with round ends; of a point, a disk.
    pub(super) fn line(&mut self, [from, to]: [[f64; 2]; 2], radius: f64, color: Color) {
        let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
        let squared = dx * dx + dy * dy;
        let reach = radius + 1.0;
        let (upper, lower) = (from[1].min(to[1]), from[1].max(to[1]));
        let rows = (
            ((upper - reach).floor() as i32).max(0),
            ((lower + reach).ceil() as i32).min(self.height as i32),
        );
        for y in rows.0..rows.1 {
            let center = f64::from(y) + 0.5;
            // The part of the line that is near this row.
            let along = |height: f64| ((height - from[1]) / dy).clamp(0.0, 1.0);
            let part = match dy.abs() > 1e-9 {
                true => [along(center - reach), along(center + reach)],
                false => [0.0, 1.0],
            };
            let ends = part.map(|t| from[0] + t * dx);
            let columns = (
                ((ends[0].min(ends[1]) - reach).floor() as i32).max(0),
                ((ends[0].max(ends[1]) + reach).ceil() as i32).min(self.width as i32),
            );
            for x in columns.0..columns.1 {
                let (px, py) = (f64::from(x) + 0.5 - from[0], center - from[1]);
                let t = match squared > 0.0 {
                    true => ((px * dx + py * dy) / squared).clamp(0.0, 1.0),
                    false => 0.0,
                };
                let distance = (px - t * dx).hypot(py - t * dy);
                let cover = (radius + 0.5 - distance).clamp(0.0, 1.0);
                if cover > 0.0 {
                    self.blend(x, y, color, (cover * 255.0).round() as u8);
                }
            }
        }
    }

    /// Returns the image with a longer side of `side` pixels at most: each pixel is the mean of those it covers.
    pub(super) fn reduced(&self, side: u32) -> Self {
        let longer = self.width.max(self.height);
        if longer <= side {
            return self.clone();
        }
        let fit = |length: u32| {
            let fitted =
                (u64::from(length) * u64::from(side) + u64::from(longer) / 2) / u64::from(longer);
            (fitted as u32).clamp(1, side.max(1))
        };
        let (width, height) = (fit(self.width), fit(self.height));
        let mut rgb = Vec::with_capacity(width as usize * height as usize * 3);
        for y in 0..height {
            let rows = covered(y, height, self.height);
            for x in 0..width {
                let columns = covered(x, width, self.width);
                let (mut sum, count) = ([0_u64; 3], (rows.len() * columns.len()) as u64);
                for row in rows.clone() {
                    let start = row * self.width as usize;
                    let pixels = &self.rgb[(start + columns.start) * 3..(start + columns.end) * 3];
                    for pixel in pixels.chunks_exact(3) {
                        sum.iter_mut()
                            .zip(pixel)
                            .for_each(|(sum, value)| *sum += u64::from(*value));
                    }
                }
                rgb.extend(sum.map(|sum| ((sum + count / 2) / count) as u8));
            }
        }
        Self { width, height, rgb }
    }

    /// Returns the image with each pixel as a square of `factor` pixels.
    pub(super) fn enlarged(&self, factor: u32) -> Self {
        let (width, times) = (self.width as usize * 3, factor as usize);
        let mut rgb = Vec::with_capacity(self.rgb.len() * times * times);
        for row in self.rgb.chunks_exact(width) {
            let wide: Vec<u8> = row.chunks_exact(3).flat_map(|pixel| pixel.repeat(times)).collect();
            (0..factor).for_each(|_| rgb.extend_from_slice(&wide));
        }
        Self { width: self.width * factor, height: self.height * factor, rgb }
    }
}

/// Returns the pixels that the pixel `index` of `count` covers of `length` ones; at least one.
fn covered(index: u32, count: u32, length: u32) -> std::ops::Range<usize> {
    let at = |index: u32| (u64::from(index) * u64::from(length) / u64::from(count)) as usize;
    let start = at(index);
    start..at(index + 1).max(start + 1)
}
