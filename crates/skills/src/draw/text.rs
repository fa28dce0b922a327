//! A line of text in the font that is part of the program.

use ab_glyph::{Font as _, FontRef, GlyphId, PxScale, ScaleFont as _, point};

use super::raster::{Color, Raster};

/// Noto Sans: `assets/README.md` says where it is from, and which letters it has.
const BYTES: &[u8] = include_bytes!("../../assets/NotoSans-SemiBold.ttf");
/// The most letters of a label.
const LETTERS: usize = 48;
const ELLIPSIS: char = '…';

/// The font in one size.
pub(super) struct Font {
    /// `None` if the font can't be read, which a test excludes.
    font: Option<FontRef<'static>>,
    scale: PxScale,
    /// The room around the text.
    padding: i32,
}

/// A line that can be drawn: its glyphs with their places.
pub(super) struct Line {
    glyphs: Vec<(GlyphId, f32)>,
    width: f32,
    height: f32,
    padding: i32,
}

impl Line {
    /// Returns the width and the height of its box.
    pub(super) fn size(&self) -> (i32, i32) {
        let padded = |length: f32, padding: i32| length.ceil() as i32 + 2 * padding;
        (padded(self.width, self.padding), padded(self.height, self.padding / 3))
    }
}

impl Font {
    /// Chooses the size by that of an image.
    pub(super) fn of(canvas: &Raster) -> Self {
        let longer = canvas.width.max(canvas.height) as f32;
        let size = (longer / 55.0).clamp(13.0, 34.0);
        Self {
            font: FontRef::try_from_slice(BYTES).ok(),
            scale: PxScale::from(size * 1.36), // from the size of the letters to the height of a line
            padding: (size / 4.0).ceil() as i32,
        }
    }

    /// Prepares a text for an image that is `room` pixels wide: shortens it. `None` if it has no letters, or there is no
    /// room.
    pub(super) fn line(&self, text: &str, room: u32) -> Option<Line> {
        let font = self.font.as_ref()?.as_scaled(self.scale);
        let room = (room as f32 * 0.45).max((room as f32).min(160.0)) - 2.0 * self.padding as f32;
        let mut letters: Vec<char> = visible(text).take(LETTERS + 1).collect();
        let mut is_cut = letters.len() > LETTERS;
        letters.truncate(LETTERS);
        loop {
            let shown = letters.iter().copied().chain(is_cut.then_some(ELLIPSIS));
            let (mut glyphs, mut width): (Vec<(GlyphId, f32)>, f32) = (Vec::new(), 0.0);
            for letter in shown {
                let glyph = font.glyph_id(letter);
                if let Some((last, _)) = glyphs.last() {
                    width += font.kern(*last, glyph);
                }
                glyphs.push((glyph, width));
                width += font.h_advance(glyph);
            }
            if width <= room {
                let height = font.height();
                return (!letters.is_empty()).then_some(Line {
                    glyphs,
                    width,
                    height,
                    padding: self.padding,
                });
            }
            letters.pop()?;
            while letters.last().is_some_and(|letter| letter.is_whitespace()) {
                letters.pop();
            }
            is_cut = true;
        }
    }

    /// Draws a line into its box, whose left upper corner is `place`.
    pub(super) fn draw(&self, canvas: &mut Raster, line: &Line, place: (i32, i32), color: Color) {
        let Some(font) = &self.font else { return };
        let ascent = font.as_scaled(self.scale).ascent();
        let left = (place.0 + line.padding) as f32;
        let base = (place.1 + line.padding / 3) as f32 + ascent;
        for (glyph, x) in &line.glyphs {
            let glyph = glyph.with_scale_and_position(self.scale, point(left + x, base));
            let Some(outlined) = font.outline_glyph(glyph) else { continue };
            let corner = outlined.px_bounds().min;
            outlined.draw(|x, y, cover| {
                let alpha = (cover.clamp(0.0, 1.0) * 255.0).round() as u8;
                canvas.blend(corner.x as i32 + x as i32, corner.y as i32 + y as i32, color, alpha);
            });
        }
    }
}

/// Returns the letters that are drawn: without control characters and marks of direction, in one line, words separated by
/// one space.
fn visible(text: &str) -> impl Iterator<Item = char> {
    let mut after_letter = false;
    let mut space = false;
    text.chars()
        .filter(|letter| !is_invisible(*letter))
        .flat_map(move |letter| {
            if letter.is_whitespace() || letter.is_control() {
                space = after_letter;
                return [None, None];
            }
            after_letter = true;
            [std::mem::take(&mut space).then_some(' '), Some(letter)]
        })
        .flatten()
}

/// Returns whether a character changes others instead of being seen: of direction, width, joining and variation.
fn is_invisible(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn font() -> Font {
        Font::of(&Raster { width: 800, height: 600, rgb: vec![] })
    }

    #[test]
    fn the_font_has_the_letters_of_europe() {
        let font = font().font.unwrap();
        for letter in "Aaé ñßÆłŻőğÞЯжёїΩλ…×°€№½".chars() {
            assert_ne!(font.glyph_id(letter), GlyphId(0), "{letter}");
        }
        // The box for others is an outline too.
        assert_eq!(font.glyph_id('中'), GlyphId(0));
        assert!(font.outline(GlyphId(0)).is_some());
    }

    #[test]
    fn what_is_not_seen_is_not_drawn() {
        let seen = |text: &str| visible(text).collect::<String>();
        assert_eq!(seen("a\u{1b}[31m\0b"), "a [31m b");
        assert_eq!(seen("\n a\t\r\n b \u{202e}c\u{200b}d\n"), "a b cd");
        assert_eq!(seen("\u{feff}\u{7f}\u{9f}"), "");
        assert!(font().line("\n\0 ", 800).is_none());
    }

    #[test]
    fn long_texts_are_shortened() {
        let font = font();
        let short = font.line("a car", 800).unwrap();
        assert_eq!(short.glyphs.len(), 5);
        let many = font.line(&"i".repeat(1_000_000), 2_000).unwrap();
        assert_eq!(many.glyphs.len(), LETTERS + 1);
        let wide = font.line(&"W".repeat(40), 800).unwrap();
        assert!(wide.size().0 <= 361 && wide.glyphs.len() < 30, "{:?}", wide.size());
        let last = wide.glyphs.last().unwrap().0;
        assert_eq!(last, font.font.as_ref().unwrap().glyph_id(ELLIPSIS));
        assert!(font.line("W", 4).is_none(), "no room");
    }
}
