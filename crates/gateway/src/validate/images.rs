//! Reads images and videos in requests: all forms of all dialects. Reads without I/O: those in the request are decoded from
//! base64, others are noted. `crate::attach` checks and stores them later.

mod source;

use protocol::{Part, PixelLimits, VisualKind};
use serde_json::{Map, Value};

use self::source::Sources;
use super::fields::Fields;
use super::form::{Given, Picture};
use super::{Loc, echo, type_name};
use crate::order::{ImageRules, OrderImages, PendingImage, Source};

/// The largest size to which images are resized whose `detail` is `low`: that of 512 × 512 pixels.
const LOW_DETAIL_PIXELS: u64 = 512 * 512;
/// The largest number of pixels that a request may name. It exceeds what any model uses.
pub(crate) const MAX_PIXELS: u64 = 64_000_000;
/// The fields of the sizes to which images are resized.
pub(crate) const PIXEL_FIELDS: [&str; 2] = ["min_pixels", "max_pixels"];
/// Where the fields of [`PIXEL_FIELDS`] are too, in requests as vLLM takes them.
const PROCESSOR_FIELD: &str = "mm_processor_kwargs";

/// A problem with an image.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ImageProblem {
    /// The path from the part or the message to the value.
    pub(crate) path: Vec<Loc>,
    pub(crate) kind: &'static str,
    pub(crate) message: String,
}

impl ImageProblem {
    fn at(path: &[&str], (kind, message): (&'static str, String)) -> Self {
        Self { path: path.iter().copied().map(Loc::from).collect(), kind, message }
    }
}

/// Collects the images of a request.
pub(crate) struct ImageReader {
    rules: ImageRules,
    pending: Vec<PendingImage>,
    has_low: bool,
    has_high: bool,
}

impl ImageReader {
    /// Starts a request.
    pub(crate) fn new(rules: ImageRules) -> Self {
        Self { rules, pending: Vec::new(), has_low: false, has_high: false }
    }

    /// Returns the number of images so far, for [`Self::place`].
    pub(crate) fn mark(&self) -> usize {
        self.pending.len()
    }

    /// Puts `path` before the paths of the images since `mark`.
    pub(crate) fn place(&mut self, mark: usize, path: &[Loc]) {
        for image in &mut self.pending[mark..] {
            image.loc.splice(0..0, path.iter().cloned());
        }
    }

    /// Gives the images since `mark` another path.
    pub(crate) fn relocate(&mut self, mark: usize, path: &[Loc]) {
        for image in &mut self.pending[mark..] {
            image.loc = path.to_vec();
        }
    }

    /// Reads a part of a content in OpenAI's forms (`image_url`, `input_image`), and in that of Qwen's own tools
    /// (`{"type": "image", "image": …}`).
    pub(crate) fn openai_part(&mut self, part: &Map<String, Value>) -> Result<Part, ImageProblem> {
        let given = |name: &'static str| {
            part.get(name).filter(|value| !value.is_null()).map(|value| (name, value))
        };
        let found = given("image_url").or_else(|| given("image")).or_else(|| given("file_id"));
        let Some((name, value)) = found else {
            let message = "expected {\"type\": \"image_url\", \"image_url\": {\"url\": …}} or {\"type\": \
                           \"input_image\", \"image_url\": …}, with a data URL or the id of a file";
            return Err(ImageProblem::at(&[], ("value_error", message.to_owned())));
        };
        self.note_detail(part.get("detail"));
        let text = match value {
            Value::Object(fields) => {
                self.note_detail(fields.get("detail"));
                fields.get("url").and_then(Value::as_str)
            }
            other => other.as_str(),
        };
        let Some(text) = text else {
            let message =
                format!("expected a string, or an object with a url, got {}", type_name(value));
            return Err(ImageProblem::at(&[name], ("string_type", message)));
        };
        let source = self.images().source(text);
        let source = source.map_err(|problem| ImageProblem::at(&[name], problem))?;
        Ok(self.add(vec![name.into()], VisualKind::Image, source))
    }

    /// Reads a video part of a content: `video_url`, `input_video`, or `{"type": "video", "video": …}`.
    pub(crate) fn video_part(&mut self, part: &Map<String, Value>) -> Result<Part, ImageProblem> {
        let given = |name: &'static str| {
            part.get(name).filter(|value| !value.is_null()).map(|value| (name, value))
        };
        let found = given("video_url").or_else(|| given("video")).or_else(|| given("file_id"));
        let Some((name, value)) = found else {
            let message = "expected {\"type\": \"video_url\", \"video_url\": {\"url\": …}}, with a data URL or the id \
                           of a file";
            return Err(ImageProblem::at(&[], ("value_error", message.to_owned())));
        };
        let Some(text) = value.get("url").unwrap_or(value).as_str() else {
            let message = match value {
                Value::Array(_) => {
                    "lists of frames are not supported: send the video as a file, or each frame as an image".to_owned()
                }
                _ => format!("expected a string, or an object with a url, got {}", type_name(value)),
            };
            return Err(ImageProblem::at(&[name], ("string_type", message)));
        };
        let source = self.sources(VisualKind::Video).source(text);
        let source = source.map_err(|problem| ImageProblem::at(&[name], problem))?;
        Ok(self.add(vec![name.into()], VisualKind::Video, source))
    }

    const fn images(&self) -> Sources {
        self.sources(VisualKind::Image)
    }

    const fn sources(&self, kind: VisualKind) -> Sources {
        Sources::new(&self.rules, kind)
    }

    /// Reads the `source` of an image block of Anthropic's.
    pub(crate) fn anthropic_source(&mut self, block: &Value) -> Result<Part, ImageProblem> {
        const FIELD: &str = "source";
        const EXPECTED: &str = "expected {\"type\": \"base64\", \"media_type\": …, \"data\": …}, \
                                {\"type\": \"url\", \"url\": …} or {\"type\": \"file\", \"file_id\": …}";
        let source = block.get(FIELD).unwrap_or(&Value::Null);
        let (name, read): (_, fn(&Sources, &str) -> _) =
            match source.get("type").and_then(Value::as_str) {
                Some("base64") => ("data", Sources::base64),
                Some("url") => ("url", Sources::source),
                Some("file") => ("file_id", Sources::source),
                _ => return Err(ImageProblem::at(&[FIELD], ("value_error", EXPECTED.to_owned()))),
            };
        let Some(text) = source.get(name).and_then(Value::as_str) else {
            return Err(ImageProblem::at(&[FIELD, name], ("string_type", EXPECTED.to_owned())));
        };
        let found = read(&self.images(), text);
        let found = found.map_err(|problem| ImageProblem::at(&[FIELD, name], problem))?;
        Ok(self.add(vec![FIELD.into(), name.into()], VisualKind::Image, found))
    }

    /// Reads the fields `image` and `images` of a message or a request: one image or several, each as a data URL, the
    /// id of a blob, base64, a URL or an image link in Markdown.
    pub(crate) fn fields(&mut self, map: &Map<String, Value>) -> Result<Vec<Part>, ImageProblem> {
        let mut parts = self.field(VisualKind::Image, "image", map.get("image"))?;
        parts.extend(self.field(VisualKind::Image, "images", map.get("images"))?);
        Ok(parts)
    }

    /// Reads a field that has one image or video, or several.
    pub(crate) fn field(
        &mut self,
        kind: VisualKind,
        name: &str,
        value: Option<&Value>,
    ) -> Result<Vec<Part>, ImageProblem> {
        match value {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(list)) => {
                let list = list.iter().enumerate();
                list.map(|(index, value)| self.one(kind, vec![name.into(), index.into()], value))
                    .collect()
            }
            Some(value) => Ok(vec![self.one(kind, vec![name.into()], value)?]),
        }
    }

    fn one(
        &mut self,
        kind: VisualKind,
        path: Vec<Loc>,
        value: &Value,
    ) -> Result<Part, ImageProblem> {
        match value.as_str() {
            Some(text) => self.text(kind, path, text),
            None => {
                let message = format!("expected a string, got {}", type_name(value));
                Err(ImageProblem { path, kind: "string_type", message })
            }
        }
    }

    /// Reads an image or a video of a form.
    pub(super) fn picture(&mut self, picture: Picture) -> Result<Part, ImageProblem> {
        match picture.given {
            Given::File(bytes) => Ok(self.add(picture.path, picture.kind, Source::Bytes(bytes))),
            Given::Text(text) => self.text(picture.kind, picture.path, &text),
        }
    }

    fn text(&mut self, kind: VisualKind, path: Vec<Loc>, text: &str) -> Result<Part, ImageProblem> {
        match self.sources(kind).any(text) {
            Ok(source) => Ok(self.add(path, kind, source)),
            Err((kind, message)) => Err(ImageProblem { path, kind, message }),
        }
    }

    fn note_detail(&mut self, detail: Option<&Value>) {
        match detail.and_then(Value::as_str) {
            Some("low") => self.has_low = true,
            Some("high" | "original") => self.has_high = true,
            _ => {}
        }
    }

    fn add(&mut self, loc: Vec<Loc>, kind: VisualKind, source: Source) -> Part {
        let blob = self.pending.len().to_string();
        self.pending.push(PendingImage { kind, loc, source });
        match kind {
            VisualKind::Image => Part::Image { blob },
            VisualKind::Video => Part::Video { blob },
        }
    }

    /// Ends the request: checks the number of images, and reads the sizes to which they are resized.
    pub(crate) fn finish(mut self, fields: &mut Fields<'_>) -> (OrderImages, PixelLimits) {
        let (most, count) = (self.rules.max, self.pending.len());
        if count > most {
            let path = &self.pending[most].loc;
            let message = match most {
                0 => "this server takes no images (MAX_IMAGES=0): send text".to_owned(),
                _ => format!("a request may have {most} images (MAX_IMAGES), has {count}"),
            };
            fields.problem_within(path, "too_long", message);
        }
        self.place(0, &["body".into()]);
        let mut pixels = read_pixels(fields);
        if pixels.max.is_none() && self.has_low && !self.has_high {
            pixels.max = Some(LOW_DETAIL_PIXELS.max(pixels.min.unwrap_or(0)));
        }
        let has_images = self.pending.iter().any(|pending| pending.kind == VisualKind::Image);
        if has_images && pixels.max.is_none() {
            pixels.max = self.rules.max_pixels.map(|most| most.max(pixels.min.unwrap_or(0)));
        }
        (OrderImages { pending: self.pending, ..OrderImages::default() }, pixels)
    }
}

/// Reads `min_pixels` and `max_pixels`.
fn read_pixels(fields: &mut Fields<'_>) -> PixelLimits {
    let mut read = |name: &'static str| {
        let nested = fields.get(PROCESSOR_FIELD).and_then(|nested| nested.get(name));
        match nested.and_then(Value::as_u64) {
            Some(pixels) if fields.get(name).is_none() => Some(pixels.clamp(1, MAX_PIXELS)),
            _ => fields.integer(name, 1..=MAX_PIXELS),
        }
    };
    let [min, max] = PIXEL_FIELDS.map(&mut read);
    if let (Some(least), Some(most)) = (min, max)
        && least > most
    {
        let message = format!("must be at most max_pixels, {most}, is {least}");
        fields.problem("min_pixels", "less_than_equal", message);
    }
    PixelLimits { min, max }
}

/// Joins successive texts of a message by a line end. Images keep their places.
pub(crate) fn join_texts(parts: impl IntoIterator<Item = Part>) -> Vec<Part> {
    let mut joined: Vec<Part> = Vec::new();
    for part in parts {
        match (joined.last_mut(), part) {
            (Some(Part::Text { text }), Part::Text { text: next }) => {
                text.push('\n');
                text.push_str(&next);
            }
            (_, part) => joined.push(part),
        }
    }
    joined
}

/// Puts the leading text of a result of a call into its part; texts and images follow in their order.
pub(crate) fn result_parts(call_id: Option<String>, parts: Vec<Part>) -> Vec<Part> {
    let mut parts = parts.into_iter().peekable();
    let text = match parts.next_if(|part| matches!(part, Part::Text { .. })) {
        Some(Part::Text { text }) => text,
        _ => String::new(),
    };
    std::iter::once(Part::ToolResult { call_id, text }).chain(parts).collect()
}

/// Says that a model takes no images, or no videos.
pub(crate) fn not_taken(kind: VisualKind, model: &str) -> String {
    format!("the model '{model}' takes no {}s: send text", kind.noun())
}

/// Says that a message of this role can't have images.
pub(crate) fn misplaced(role: &str) -> String {
    format!("a message of the role {} has no images: put them into one of the user's", echo(role))
}

#[cfg(test)]
mod tests;
