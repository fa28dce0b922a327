//! Renders reports.
//!
//! Names, messages and malformed lines are untrusted. Each renderer escapes what its format interprets.

mod csv;
mod document;
pub(crate) mod escape;
mod format;
mod html;
mod markdown;
mod plots;
mod terminal;

use crate::report::Report;
use document::Document;

/// The format of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns of text.
    Terminal,
    /// GitHub's Markdown.
    Markdown,
    /// One HTML page with plots in SVG, without scripts and without references to other files.
    Html,
    /// One table: a row per period, model, owner and kind of error.
    Csv,
    /// One JSON object.
    Json,
}

/// Why a report could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A plot could not be drawn.
    #[error("a plot can't be drawn: {0}")]
    Plot(String),
    /// A row of CSV could not be written.
    #[error("the CSV table can't be written")]
    Csv(#[from] ::csv::Error),
    /// The JSON object could not be written.
    #[error("the JSON object can't be written")]
    Json(#[from] serde_json::Error),
}

impl Report {
    /// Renders the report; the text ends with a line end.
    ///
    /// # Errors
    /// If a library can't write what it was given.
    pub fn render(&self, format: Format) -> Result<String, RenderError> {
        match format {
            Format::Terminal => Ok(terminal::render(&Document::new(self))),
            Format::Markdown => Ok(markdown::render(&Document::new(self))),
            Format::Html => html::render(&Document::new(self), &plots::draw(self)?),
            Format::Csv => csv::render(self),
            Format::Json => {
                let json = serde_json::to_string_pretty(self)?;
                // Control characters that JSON allows in strings (U+0080 and up) are escaped for terminals.
                Ok(escape::harmless(&json) + "\n")
            }
        }
    }
}

#[cfg(test)]
mod tests;
