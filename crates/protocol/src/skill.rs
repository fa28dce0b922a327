//! Skills: what a worker does with the answer of a task that a skill has written, and what comes of it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::BlobId;

/// The part of a skill that concerns the answer. The rest of it, the prompt above all, is in the task already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkillUse {
    /// The skill's name.
    pub name: String,
    /// What the answer consists of.
    pub output: SkillOutput,
    /// The coordinate of the right and the lower edge, for models with relative coordinates.
    #[serde(
        default = "SkillUse::default_scale",
        skip_serializing_if = "SkillUse::is_default_scale"
    )]
    pub scale: u32,
    /// The actions that an answer may have; empty unless the output is [`SkillOutput::Actions`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<String>,
    /// Whether the marks of the answer are drawn on the images.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draw: bool,
    /// The name of the command that reads the answer, in the place of the built-in parser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

impl SkillUse {
    /// The coordinate of the edges unless a skill says another.
    pub const SCALE: u32 = 1000;

    const fn default_scale() -> u32 {
        Self::SCALE
    }

    #[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
    const fn is_default_scale(scale: &u32) -> bool {
        *scale == Self::SCALE
    }
}

/// What a skill's answer consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SkillOutput {
    /// Plain text.
    Text,
    /// A JSON value.
    Json,
    /// HTML, whose elements may have boxes.
    Html,
    /// Markdown, whose comments may have boxes.
    Markdown,
    /// Objects with boxes.
    Boxes,
    /// Objects with points.
    Points,
    /// Events of a video with their times.
    Events,
    /// Actions of an agent: calls of functions.
    Actions,
}

impl SkillOutput {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Text,
        Self::Json,
        Self::Html,
        Self::Markdown,
        Self::Boxes,
        Self::Points,
        Self::Events,
        Self::Actions,
    ];

    /// Returns the name in files and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Html => "html",
            Self::Markdown => "markdown",
            Self::Boxes => "boxes",
            Self::Points => "points",
            Self::Events => "events",
            Self::Actions => "actions",
        }
    }
}

/// What a skill made of an answer. The answer's text itself is kept unchanged beside it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SkillAnswer {
    /// The skill's name.
    pub name: String,
    /// The answer as a value: coordinates both as the model wrote them and in pixels of the images that the client
    /// sent. `None` if it could not be read; then a warning says why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured: Option<Value>,
    /// The images with the marks of the answer drawn on them, as PNG.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub annotated_images: Vec<BlobId>,
    /// What was repaired, left out or not done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A family of models that see. The families differ in how they write coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum VisionFamily {
    /// Qwen2-VL: coordinates of 0 to 1000 between tags.
    #[serde(rename = "qwen2-vl")]
    Qwen2Vl,
    /// Qwen2.5-VL: pixels of the image as the model sees it.
    #[serde(rename = "qwen2.5-vl")]
    Qwen25Vl,
    /// Qwen3-VL and later: coordinates of 0 to 1000.
    #[serde(rename = "qwen3-vl")]
    Qwen3Vl,
}

impl VisionFamily {
    /// Returns the name in records and templates.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Qwen2Vl => "qwen2-vl",
            Self::Qwen25Vl => "qwen2.5-vl",
            Self::Qwen3Vl => "qwen3-vl",
        }
    }
}
