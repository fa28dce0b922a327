//! [`Loc`]: one step of the path to a value of a request.

/// One step of the path to a value.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(untagged)]
pub enum Loc {
    /// The part of the request (`body`, `path`, `query`, `header`), or a field's name.
    Name(String),
    /// An index into an array, or a byte offset into the text.
    Index(usize),
}

impl From<&str> for Loc {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<usize> for Loc {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}
