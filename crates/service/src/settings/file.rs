//! Shared by the readers of `.env` and of the YAML file: UTF-8 text, entries with line numbers, and
//! errors for repeated names.

use std::fs;
use std::io;
use std::path::Path;

use super::names;

/// A name and its value in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The name as written.
    pub(super) name: String,
    pub(super) value: Written,
    /// The line of the name, counted from 1.
    pub(super) line: usize,
}

/// A value as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written {
    One(String),
    /// A list, which only YAML supports.
    Several(Vec<String>),
}

impl Written {
    /// Returns `true` if the value is empty, which means unset.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::One(text) => text.trim().is_empty(),
            Self::Several(items) => items.iter().all(|item| item.trim().is_empty()),
        }
    }
}

/// A line that cannot be parsed. Its text may contain a secret, so `what` does not include it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadLine {
    /// Counted from 1.
    pub(super) line: usize,
    /// The name that the line sets, if it is a known one.
    pub(super) name: Option<String>,
    /// The problem, and what to do.
    pub(super) what: String,
}

impl BadLine {
    /// Returns the complete message.
    pub(super) fn message(&self, path: &Path) -> String {
        let place = place(path, self.line);
        match &self.name {
            Some(name) => match names::named(&name.to_ascii_uppercase()) {
                Some(key) => format!("{} ({place}): {}", key.name, self.what),
                None => format!("{place}: {}: {}", name.escape_debug(), self.what),
            },
            None => format!("{place}: {}", self.what),
        }
    }
}

/// The entries of a file, and the lines that cannot be parsed.
pub(super) type Contents = (Vec<Entry>, Vec<BadLine>);

/// Reads a UTF-8 file and removes its byte order mark. Returns `None` if the file does not exist.
///
/// # Errors
/// If the file cannot be read or is not UTF-8. The message says what to do.
pub(super) fn read(path: &Path) -> Result<Option<String>, String> {
    let shown = path.display();
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if path.is_dir() => {
            return Err(format!(
                "{shown} is a folder, but a file is expected ({error}): remove it"
            ));
        }
        Err(error) => {
            return Err(format!(
                "{shown} can't be read: {error}: make it readable for this user, or remove it"
            ));
        }
    };
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(format!("{shown} is in UTF-16: save it as UTF-8"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
        format!("{shown}, line {line} is not UTF-8: save the file as UTF-8")
    })?;
    Ok(Some(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    }))
}

/// Formats a line's position for messages: `.env, line 3`.
pub(super) fn place(path: &Path, line: usize) -> String {
    format!("{}, line {line}", path.display())
}

/// Returns the message for a name that a file sets twice.
pub(super) fn twice(name: &str, place: &str, first: usize) -> String {
    format!("{name} ({place}) is set in line {first} already: remove one of the two lines")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_not_utf_8_are_refused_by_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.yaml");
        let read = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            read(&path)
        };
        assert_eq!(read(b"\xef\xbb\xbfa\r\n").unwrap().unwrap(), "a\r\n", "without the mark");
        assert!(read(b"\xff\xfea\0").unwrap_err().contains("UTF-16"));
        assert!(read(b"a\nb\n\xe9\n").unwrap_err().contains("x.yaml, line 3 is not UTF-8"));
        assert!(super::read(dir.path()).unwrap_err().contains("is a folder"));
        assert_eq!(super::read(&dir.path().join("none")), Ok(None));
    }
}
