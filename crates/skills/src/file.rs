//! The file of a skill (TOML): what it may have, and what is wrong with one. docs/SKILLS.md describes it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use protocol::{PixelLimits, SkillUse};
use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;

/// Maximum size of a file, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct FileError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there, and what is allowed.
    pub message: String,
}

/// Why there is no skill in a file.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It can't be read.
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    /// Something in it is wrong.
    #[error(transparent)]
    Wrong(#[from] FileError),
}

/// Returns the text of a file. Reads no more than a byte beyond the largest.
pub(crate) fn text_of(file: &Path) -> Result<String, ReadError> {
    let mut bytes = Vec::new();
    fs::File::open(file)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_BYTES {
        let message = format!("the file has more than the {MAX_BYTES} bytes that are allowed");
        return Err(FileError { line: 1, message }.into());
    }
    String::from_utf8(bytes).map_err(|error| {
        let text = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + text.iter().filter(|byte| **byte == b'\n').count();
        FileError { line, message: "is not UTF-8".to_owned() }.into()
    })
}

/// A file, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) name: Spanned<String>,
    pub(crate) title: Spanned<String>,
    pub(crate) description: Spanned<String>,
    #[serde(default)]
    pub(crate) input: Input,
    #[serde(default)]
    pub(crate) fields: BTreeMap<String, Spanned<FieldTable>>,
    pub(crate) prompt: PromptTable,
    #[serde(default)]
    pub(crate) answer: AnswerTable,
    #[serde(default)]
    pub(crate) sampling: BTreeMap<String, Spanned<f64>>,
    #[serde(default)]
    pub(crate) pixels: Option<Spanned<PixelLimits>>,
    #[serde(default)]
    pub(crate) example: Option<Spanned<Example>>,
}

/// What a request has.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    #[serde(default)]
    pub(crate) images: Option<Spanned<[usize; 2]>>,
    #[serde(default)]
    pub(crate) videos: Option<Spanned<[usize; 2]>>,
    #[serde(default)]
    pub(crate) prompt: PromptRule,
}

/// Whether a request has a prompt of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PromptRule {
    /// It may have one.
    #[default]
    Optional,
    /// It must have one.
    Required,
    /// It has none.
    None,
}

impl PromptRule {
    /// Returns the name in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Optional => "optional",
            Self::Required => "required",
            Self::None => "none",
        }
    }
}

/// A field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FieldTable {
    #[serde(rename = "type")]
    pub(crate) kind: FieldType,
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) default: Option<Value>,
    #[serde(default)]
    pub(crate) choices: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) min: Option<f64>,
    #[serde(default)]
    pub(crate) max: Option<f64>,
    #[serde(default)]
    pub(crate) max_chars: Option<usize>,
}

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FieldType {
    Text,
    Choice,
    Integer,
    Number,
    Boolean,
    Object,
}

/// The templates of the prompt.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PromptTable {
    #[serde(default)]
    pub(crate) system: Option<Spanned<String>>,
    pub(crate) user: Spanned<String>,
}

/// What the answer is.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnswerTable {
    #[serde(default)]
    pub(crate) output: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) schema: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) draw: bool,
    #[serde(default)]
    pub(crate) scale: Option<Spanned<u32>>,
    #[serde(default)]
    pub(crate) actions: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    pub(crate) command: Option<Spanned<String>>,
}

impl AnswerTable {
    pub(crate) fn scale(&self) -> u32 {
        self.scale.as_ref().map_or(SkillUse::SCALE, |scale| *scale.get_ref())
    }
}

/// A request and its answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The prompt, if it has one.
    #[serde(default)]
    pub prompt: Option<String>,
    /// The fields that it sets.
    #[serde(default)]
    pub fields: serde_json::Map<String, Value>,
    /// What a model answers.
    #[serde(default)]
    pub answer: Option<String>,
}

/// A text, with which places in it become lines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a>(pub(crate) &'a str);

impl Source<'_> {
    /// Reads the file.
    pub(crate) fn read(&self) -> Result<File, FileError> {
        if self.0.len() > MAX_BYTES {
            let message =
                format!("the file has {} bytes, at most {MAX_BYTES} are allowed", self.0.len());
            return Err(FileError { line: 1, message });
        }
        toml::from_str(self.0).map_err(|error| {
            let message = error.message().replace('\n', " ");
            self.wrong(error.span().unwrap_or(0..0), message)
        })
    }

    /// Creates the error of a place.
    pub(crate) fn wrong(&self, place: Range<usize>, message: impl Into<String>) -> FileError {
        FileError { line: self.line(place.start), message: message.into() }
    }

    /// Creates the error of a line within the text at a place. `line` counts from 1.
    pub(crate) fn wrong_within(
        &self,
        place: Range<usize>,
        line: usize,
        message: impl Into<String>,
    ) -> FileError {
        let written = self.0.get(place.clone()).unwrap_or_default();
        // The first line end after the quotes does not belong to the text.
        let starts_below = ["'''\n", "\"\"\"\n", "'''\r\n", "\"\"\"\r\n"];
        let below = usize::from(starts_below.iter().any(|quotes| written.starts_with(quotes)));
        let line = self.line(place.start) + below + line.saturating_sub(1);
        FileError { line, message: message.into() }
    }

    fn line(&self, at: usize) -> usize {
        1 + self.0.bytes().take(at).filter(|byte| *byte == b'\n').count()
    }
}
