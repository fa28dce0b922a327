//! The texts of settings as the sources gave them.

use std::collections::HashMap;

/// A setting's text and its source, such as `.env, line 3`.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) text: String,
    /// `None` for a default.
    pub(super) place: Option<String>,
}

/// The text of each setting that has one.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// By name.
    pub(super) given: HashMap<&'static str, Given>,
    /// What became of settings of other systems.
    pub(super) notes: Vec<String>,
}

/// Refuses a text that is not on one line.
pub(super) fn checked_text(text: &str) -> Result<(), String> {
    if text.contains(char::is_control) {
        return Err(
            "has a line break or another control character: write it on one line, and check \
                    that every quote before it is closed"
                .to_owned(),
        );
    }
    Ok(())
}
