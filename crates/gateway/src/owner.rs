//! The names of owners.

/// Maximum length of an owner's name.
pub(crate) const MAX_LENGTH: usize = 64;

/// Returns whether a text may name an owner: it is safe in logs, URLs and the queue's keys.
pub(crate) fn is_plain(text: &str) -> bool {
    (1..=MAX_LENGTH).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte))
}

/// Returns whether a name is one that the service gives itself: the owner of a key, or of a subject that is not
/// plain.
pub(crate) fn is_reserved(text: &str) -> bool {
    ["key-", "key_", "env_", "jwt-"].iter().any(|start| text.starts_with(start))
}
