//! What is wrong with lines.

use super::MAX_LINE;

/// Why a line is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum Malformed {
    /// No bytes.
    #[error("the line is empty")]
    Empty,
    /// No time at the beginning.
    #[error("it does not begin with [YYYY-MM-DD hh:mm:ss]")]
    Time,
    /// Something that is not `name=value`.
    #[error("after the time it is not a list of name=value")]
    Fields,
    /// A quoted value that is not a JSON string.
    #[error("a quoted value does not end, or is not a JSON string")]
    Quoted,
    /// A required field is missing.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// An unknown outcome.
    #[error("its status is not success, error or cancelled")]
    Status,
    /// A figure is not a number, or has another unit.
    #[error("its {0} is not a number in the log's format")]
    Number(&'static str),
    /// More than [`MAX_LINE`] bytes.
    #[error("it has more than {MAX_LINE} bytes")]
    TooLong,
}
