//! A conversation as the model reads it.

/// A rendered conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    pub(super) text: String,
    pub(super) marks: Vec<usize>,
}

impl Prompt {
    /// What the model reads, special tokens spelled out.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Byte positions, ascending, that no special token may span: there the text came from a
    /// message, not from the template.
    pub(super) fn marks(&self) -> &[usize] {
        &self.marks
    }
}
