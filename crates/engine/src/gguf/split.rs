//! Files split by `llama-gguf-split`: `NAME-00001-of-00003.gguf`.
//!
//! The first part has the metadata. Each part has some of the tensors, and its own number.

use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};

use super::header::Header;
use super::{FromValue, GgufError, Metadata};
use crate::LoadError;

/// The key of the part's number, from 0.
const NUMBER: &str = "split.no";
/// The key of the number of parts.
const COUNT: &str = "split.count";
/// The key of the number of tensors in all parts.
const TENSORS: &str = "split.tensors.count";
/// A limit above the number of parts of any model.
pub(crate) const MAX_PARTS: u32 = 9_999;

/// The metadata of one part about the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Split {
    /// This part's number, from 0.
    number: u32,
    /// The number of parts; more than one.
    count: u32,
    /// The number of tensors in all parts, if given.
    tensors: Option<u64>,
}

impl Split {
    /// Reads a file's split metadata; `None` if the file is not split.
    ///
    /// # Errors
    /// Returns an error if it is invalid.
    pub(super) fn read(header: &Header, path: &Path) -> Result<Option<Self>, LoadError> {
        let count: u32 = match number(header, COUNT, path)? {
            None | Some(0 | 1) => return Ok(None),
            Some(count) => count,
        };
        let part: u32 = number(header, NUMBER, path)?.unwrap_or(0);
        if count > MAX_PARTS || part >= count {
            let problem = format!("it says that it is part {} of {count}", u64::from(part) + 1);
            return Err(error(path, GgufError::Split(problem)));
        }
        Ok(Some(Self { number: part, count, tensors: number(header, TENSORS, path)? }))
    }

    /// Returns the paths of all parts in order, in the folder of `path`.
    ///
    /// # Errors
    /// Returns an error if the file's name does not match its part number, or a part is missing.
    pub(super) fn paths(&self, path: &Path) -> Result<Vec<PathBuf>, LoadError> {
        let (own, count) = (self.number + 1, self.count);
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let Some(name) = stem.strip_suffix(&format!("-{own:05}-of-{count:05}")) else {
            let problem = format!(
                "it is part {own} of {count} of a split file, and its name does not end in \
                 -{own:05}-of-{count:05}.gguf, so the other parts can't be found: give all parts the names \
                 that llama-gguf-split gave them, or join them with llama-gguf-split --merge"
            );
            return Err(error(path, GgufError::Split(problem)));
        };
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("gguf");
        let part = |number| format!("{name}-{number:05}-of-{count:05}.{extension}");
        let parts: Vec<PathBuf> =
            (1..=count).map(|number| path.with_file_name(part(number))).collect();
        match parts.iter().find(|part| !part.is_file()) {
            None => Ok(parts),
            Some(missing) => {
                let problem = format!(
                    "it is part {own} of {count} of a split file, and {} is missing: put all {count} parts \
                     into one folder",
                    missing.display()
                );
                Err(error(path, GgufError::Split(problem)))
            }
        }
    }

    /// Checks that the file opened as part `number` (from 0) has matching metadata.
    ///
    /// # Errors
    /// Returns an error if it does not.
    pub(super) fn check(
        &self,
        number: usize,
        header: &Header,
        path: &Path,
    ) -> Result<(), LoadError> {
        let found = Self::read(header, path)?;
        if found.is_some_and(|found| found.number as usize == number && found.count == self.count) {
            return Ok(());
        }
        let says = found.map_or_else(
            || "that it is a whole file".to_owned(),
            |found| format!("that it is part {} of {}", found.number + 1, found.count),
        );
        let problem = format!(
            "it stands where part {} of {} should, and says {says}: get all parts of one file again",
            number + 1,
            self.count
        );
        Err(error(path, GgufError::Split(problem)))
    }

    /// Checks that all parts together have the stated number of tensors.
    ///
    /// # Errors
    /// Returns an error if they do not.
    pub(super) fn check_whole(&self, whole: &Header, path: &Path) -> Result<(), LoadError> {
        let found = whole.tensors.len() as u64;
        match self.tensors.filter(|expected| *expected != found) {
            None => Ok(()),
            Some(expected) => {
                let problem = format!(
                    "its {} parts have {found} tensors together, and say that they have {expected}: get all \
                     parts of one file again",
                    self.count
                );
                Err(error(path, GgufError::Split(problem)))
            }
        }
    }
}

/// Adds the tensors of part `number` (from 0) to those of the parts before it.
///
/// # Errors
/// Returns an error if a tensor is in two parts.
pub(super) fn join(
    whole: &mut Header,
    number: usize,
    part: Header,
    path: &Path,
) -> Result<(), LoadError> {
    for (name, info) in part.tensors {
        match whole.tensors.entry(name) {
            Entry::Vacant(free) => free.insert(super::TensorInfo { file: number, ..info }),
            Entry::Occupied(taken) => {
                let name = taken.key().clone();
                return Err(error(path, GgufError::Duplicate { what: "tensor", name }));
            }
        };
    }
    Ok(())
}

fn number<T: for<'a> FromValue<'a>>(
    header: &Header,
    key: &str,
    path: &Path,
) -> Result<Option<T>, LoadError> {
    let Some(value) = header.metadata.get(key) else { return Ok(None) };
    T::from_value(value).map(Some).ok_or_else(|| {
        let (key, expected) = (key.to_owned(), T::EXPECTED.to_owned());
        error(path, GgufError::WrongValue { key, expected, found: value.describe() })
    })
}

fn error(path: &Path, problem: GgufError) -> LoadError {
    Metadata::new(path.display().to_string()).error(problem)
}
