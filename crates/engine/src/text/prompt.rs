//! The prompt of a conversation.

/// A conversation rendered by the chat template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    pub(super) text: String,
    pub(super) marks: Vec<usize>,
}

impl Prompt {
    /// Returns the rendered text, with special tokens spelled out.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns ascending byte positions that no special token may span, since the text around them comes from a
    /// message, not from the template.
    pub(super) fn marks(&self) -> &[usize] {
        &self.marks
    }
}
