//! Reads and checks a model's numbers in its metadata.

use crate::error::LoadError;
use crate::gguf::{FromValue, GgufError, Metadata};

/// The metadata of one architecture, whose keys begin with the architecture's name. Methods take the rest of
/// a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct ModelMetadata<'a> {
    pub(super) all: &'a Metadata,
    pub(super) architecture: &'a str,
}

impl<'a> ModelMetadata<'a> {
    fn key(&self, rest: &str) -> String {
        format!("{}.{rest}", self.architecture)
    }

    /// Returns a value, or `None` if the key is missing.
    pub(super) fn get<T: FromValue<'a>>(&self, rest: &str) -> Result<Option<T>, LoadError> {
        self.all.get(&self.key(rest))
    }

    /// Returns a count from 1 to `most`, or `None` if the key is missing.
    pub(super) fn count(&self, rest: &str, most: usize) -> Result<Option<usize>, LoadError> {
        match self.get(rest)? {
            Some(value) if !(1..=most).contains(&value) => {
                Err(self.wrong(rest, format!("from 1 to {most}"), value))
            }
            value => Ok(value),
        }
    }

    /// Returns a count from 1 to `most`. A missing key is an error.
    pub(super) fn required_count(&self, rest: &str, most: usize) -> Result<usize, LoadError> {
        self.count(rest, most)?.ok_or_else(|| self.missing(rest))
    }

    /// Returns a number above 0, or `None` if the key is missing.
    pub(super) fn positive(&self, rest: &str) -> Result<Option<f32>, LoadError> {
        match self.get::<f32>(rest)? {
            Some(value) if !(value.is_finite() && value > 0.0) => {
                Err(self.wrong(rest, "above 0", value))
            }
            value => Ok(value),
        }
    }

    /// Returns a number above 0. A missing key is an error.
    pub(super) fn required_positive(&self, rest: &str) -> Result<f32, LoadError> {
        self.positive(rest)?.ok_or_else(|| self.missing(rest))
    }

    fn missing(&self, rest: &str) -> LoadError {
        self.all.error(GgufError::MissingKey { key: self.key(rest) })
    }

    /// Returns the error for a value that is not `expected`.
    pub(super) fn wrong(
        &self,
        rest: &str,
        expected: impl Into<String>,
        found: impl ToString,
    ) -> LoadError {
        self.all.error(GgufError::WrongValue {
            key: self.key(rest),
            expected: expected.into(),
            found: found.to_string(),
        })
    }
}
