//! A model's metadata, by GGUF's keys.

use std::collections::HashMap;

use super::{FromValue, GgufError, Value};
use crate::LoadError;

/// A model's metadata, by GGUF's keys. If it comes from files with other keys, such as those of a safetensors
/// model, messages use the original keys.
#[derive(Debug, Clone)]
pub struct Metadata {
    /// The model's name in messages: its path, or a label from the caller.
    label: String,
    values: HashMap<String, Value>,
    /// The names in messages of keys that are in no GGUF file.
    origins: HashMap<String, String>,
}

impl Metadata {
    /// Creates the metadata of a GGUF file.
    pub(super) fn of_gguf(label: String, values: HashMap<String, Value>) -> Self {
        Self { label, values, origins: HashMap::new() }
    }

    /// Creates empty metadata for a model that messages call `label`.
    pub(crate) fn new(label: String) -> Self {
        Self::of_gguf(label, HashMap::new())
    }

    /// Adds a value; `origin` is its key in messages.
    pub(crate) fn insert(&mut self, key: &str, value: Value, origin: impl Into<String>) {
        self.values.insert(key.to_owned(), value);
        self.origins.insert(key.to_owned(), origin.into());
    }

    /// Returns the model's name in messages.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Returns the number of keys.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Returns all keys with their values, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Returns a key's name in messages: itself, or the original key in the files of a safetensors model.
    pub fn name_of<'a>(&'a self, key: &'a str) -> &'a str {
        self.origins.get(key).map_or(key, String::as_str)
    }

    /// Returns a value, or `None` if the key is missing.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// Returns a value as a type, or `None` if the key is missing.
    ///
    /// # Errors
    /// Returns an error if the value has another type.
    pub fn get<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<Option<T>, LoadError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        T::from_value(value).map(Some).ok_or_else(|| {
            self.error(GgufError::WrongValue {
                key: key.to_owned(),
                expected: T::EXPECTED.to_owned(),
                found: value.describe(),
            })
        })
    }

    /// Returns a value as a type.
    ///
    /// # Errors
    /// Returns an error if the key is missing or the value has another type.
    pub fn require<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<T, LoadError> {
        self.get(key)?.ok_or_else(|| self.error(GgufError::MissingKey { key: key.to_owned() }))
    }

    /// Converts a problem to an error that names the model and the key in its files.
    pub fn error(&self, mut problem: GgufError) -> LoadError {
        if let GgufError::MissingKey { key } | GgufError::WrongValue { key, .. } = &mut problem {
            *key = self.name_of(key).to_owned();
        }
        let file = self.label.clone();
        if problem.is_unsupported() {
            LoadError::Unsupported { file, problem: problem.to_string() }
        } else {
            LoadError::Damaged { file, problem: problem.into() }
        }
    }

    /// Returns an error about valid files that the engine does not support, naming the model.
    pub fn unsupported(&self, problem: impl Into<String>) -> LoadError {
        LoadError::Unsupported { file: self.label.clone(), problem: problem.into() }
    }
}
