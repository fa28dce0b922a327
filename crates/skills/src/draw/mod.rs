//! Draws marks on an image, as PNG.
//!
//! | module    | what it does |
//! |-----------|--------------|
//! | `raster`  | pixels: areas, lines and disks with smooth edges; reduces and enlarges |
//! | `outline` | the lines of a mark |
//! | `palette` | the colors of labels |
//! | `text`    | the font: measures, shortens and draws a line of text |
//! | `labels`  | finds room for labels |

mod labels;
mod outline;
mod palette;
mod raster;
mod text;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

pub use self::raster::Raster;

use self::labels::Labels;
use self::outline::Strokes;
use self::palette::Palette;
use self::text::Font;
use crate::marks::{Mark, Shape};

/// The limits of drawings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest side in pixels. Larger images are reduced.
    pub max_side: u32,
    /// The most bytes of the file. The image is reduced until it fits.
    pub max_bytes: usize,
    /// The most marks of an image.
    pub max_marks: usize,
}

impl Default for Limits {
    /// 2,048 pixels, 20 MB, 1,000 marks.
    fn default() -> Self {
        Self { max_side: 2_048, max_bytes: 20_000_000, max_marks: 1_000 }
    }
}

/// An image with marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawing {
    /// The file.
    pub png: Vec<u8>,
    /// Its width and height.
    pub size: (u32, u32),
    /// What was not drawn.
    pub warnings: Vec<String>,
}

/// The reason why there is no drawing.
#[derive(Debug, thiserror::Error)]
pub enum DrawError {
    /// The image has no pixels, or another number than its size says.
    #[error("the image has {bytes} bytes for {width} × {height} pixels")]
    Size {
        /// Pixels in a row.
        width: u32,
        /// The number of rows.
        height: u32,
        /// The bytes that were given.
        bytes: usize,
    },
    /// The file would be too large, however small the image.
    #[error("no file of at most {most} bytes shows the image")]
    TooLarge {
        /// The bytes allowed.
        most: usize,
    },
    /// The file could not be written.
    #[error("the image could not be written as PNG: {0}")]
    Encode(#[from] image::ImageError),
}

/// Images with a longer side below this are enlarged by a whole factor, so that labels can be read.
const LEGIBLE: u32 = 480;
/// By how much an image is reduced whose file is too large, at least.
const STEP: f64 = 0.8;
/// The sizes that are tried.
const TRIES: usize = 16;

/// Colors of the labels of an answer, whichever of its images they are on.
#[derive(Debug, Clone)]
pub struct Colors(Palette);

impl Colors {
    /// Chooses the colors for these marks.
    pub fn of(marks: &[Mark]) -> Self {
        Self(Palette::of(marks))
    }
}

/// Draws those of the `marks` that are on the picture with the index `picture`, which `image` shows.
///
/// # Errors
/// If the image has no pixels, or no file is small enough.
pub fn draw(
    image: Raster,
    picture: usize,
    marks: &[Mark],
    colors: &Colors,
    limits: &Limits,
) -> Result<Drawing, DrawError> {
    if !image.is_whole() {
        let Raster { width, height, rgb } = image;
        return Err(DrawError::Size { width, height, bytes: rgb.len() });
    }
    let original = (image.width, image.height);
    let mut ground = fitted(image, limits.max_side);
    let marks: Vec<&Mark> = marks.iter().filter(|mark| mark.picture == picture).collect();
    for _ in 0..TRIES {
        let mut canvas = ground.clone();
        let warnings = paint(&mut canvas, original, &marks, colors, limits);
        let png = encode(&canvas)?;
        if png.len() <= limits.max_bytes {
            return Ok(Drawing { png, size: (canvas.width, canvas.height), warnings });
        }
        let factor = (limits.max_bytes as f64 / png.len() as f64).sqrt().min(STEP);
        let side = (f64::from(ground.width.max(ground.height)) * factor) as u32;
        drop((canvas, png));
        if side == 0 {
            break;
        }
        ground = ground.reduced(side);
    }
    Err(DrawError::TooLarge { most: limits.max_bytes })
}

/// Returns the image in the size in which it is drawn on.
fn fitted(image: Raster, max_side: u32) -> Raster {
    let longer = image.width.max(image.height);
    if longer > max_side {
        return image.reduced(max_side.max(1));
    }
    match LEGIBLE.min(max_side) / longer {
        0 | 1 => image,
        factor => image.enlarged(factor),
    }
}

/// Draws the marks: all lines first, so that no line crosses a label.
fn paint(
    canvas: &mut Raster,
    original: (u32, u32),
    marks: &[&Mark],
    colors: &Colors,
    limits: &Limits,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let drawn = &marks[..marks.len().min(limits.max_marks)];
    if drawn.len() < marks.len() {
        warnings.push(format!("{} of {} marks are drawn", drawn.len(), marks.len()));
    }
    let scale = [
        f64::from(canvas.width) / f64::from(original.0),
        f64::from(canvas.height) / f64::from(original.1),
    ];
    let mut strokes = Strokes::of(canvas);
    let font = Font::of(canvas);
    let mut labels = Labels::of(canvas);
    let (mut shown, mut cut) = (Vec::new(), 0);
    for (index, mark) in drawn.iter().enumerate() {
        let shape = scaled(&mark.shape, scale, canvas);
        if strokes.draw(canvas, &shape, colors.0.color(mark)) {
            shown.push((index, shape));
        } else {
            cut += 1;
        }
    }
    if cut > 0 {
        warnings.push(format!("{cut} marks are not drawn: their lines are too long together"));
    }
    for (index, shape) in shown {
        let mark = drawn[index];
        let Some(label) = mark.label.as_deref() else { continue };
        let Some(line) = font.line(label, canvas.width) else { continue };
        let Some(area) = labels.place(&shape, line.size(), strokes.reach()) else { continue };
        let color = colors.0.color(mark);
        canvas.fill(area, palette::ink(color));
        canvas.fill(area.inset(1), color);
        font.draw(canvas, &line, (area.left, area.top), palette::ink(color));
    }
    warnings
}

/// Returns a shape in pixels of the canvas, within it.
fn scaled(shape: &Shape, scale: [f64; 2], canvas: &Raster) -> Shape {
    let ends = [f64::from(canvas.width), f64::from(canvas.height)];
    let at = |axis: usize, value: f64| match value.is_finite() {
        true => (value * scale[axis]).clamp(0.0, ends[axis]),
        false => 0.0,
    };
    let point = |[x, y]: [f64; 2]| [at(0, x), at(1, y)];
    match shape {
        Shape::Box([left, top, right, bottom]) => {
            let ([a, b], [c, d]) = (point([*left, *top]), point([*right, *bottom]));
            Shape::Box([a.min(c), b.min(d), a.max(c), b.max(d)])
        }
        Shape::Point(place) => Shape::Point(point(*place)),
        Shape::Polygon(corners) => Shape::Polygon(corners.iter().copied().map(point).collect()),
        Shape::Arrow([from, to]) => Shape::Arrow([point(*from), point(*to)]),
    }
}

fn encode(canvas: &Raster) -> Result<Vec<u8>, image::ImageError> {
    let mut png = Vec::new();
    let encoder =
        PngEncoder::new_with_quality(&mut png, CompressionType::Default, FilterType::Adaptive);
    encoder.write_image(&canvas.rgb, canvas.width, canvas.height, ExtendedColorType::Rgb8)?;
    Ok(png)
}
