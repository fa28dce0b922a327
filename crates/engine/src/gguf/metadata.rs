//! What a model's files say beside its weights, by GGUF's keys.

use std::collections::HashMap;

use super::{FromValue, GgufError, Value};
use crate::LoadError;

/// What a model's files say beside its weights, by GGUF's keys. Where it was said in other words, as in
/// the files of a safetensors model, messages use those.
#[derive(Debug, Clone)]
pub struct Metadata {
    /// How messages call the model: its path, or what the caller named it.
    label: String,
    values: HashMap<String, Value>,
    /// What messages call a key that stands in no GGUF file.
    origins: HashMap<String, String>,
}

impl Metadata {
    /// The metadata of a GGUF file.
    pub(super) fn of_gguf(label: String, values: HashMap<String, Value>) -> Self {
        Self { label, values, origins: HashMap::new() }
    }

    /// None yet, of a model that messages call `label`.
    pub(crate) fn new(label: String) -> Self {
        Self::of_gguf(label, HashMap::new())
    }

    /// Adds a value; `origin` is what messages call its key.
    pub(crate) fn insert(&mut self, key: &str, value: Value, origin: impl Into<String>) {
        self.values.insert(key.to_owned(), value);
        self.origins.insert(key.to_owned(), origin.into());
    }

    /// How messages call the model.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// All keys with their values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// What messages call a key: itself, or what it is called in the files of a safetensors model.
    pub fn name_of<'a>(&'a self, key: &'a str) -> &'a str {
        self.origins.get(key).map_or(key, String::as_str)
    }

    /// A value, if it is there.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// A value as a type; `None` if the key is missing.
    ///
    /// # Errors
    /// When it is something else.
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

    /// A value as a type.
    ///
    /// # Errors
    /// When the key is missing or it is something else.
    pub fn require<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<T, LoadError> {
        self.get(key)?.ok_or_else(|| self.error(GgufError::MissingKey { key: key.to_owned() }))
    }

    /// A problem as an error that names the model, and the key as its files have it.
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

    /// Something this engine cannot do with sound files, as an error that names the model.
    pub fn unsupported(&self, problem: impl Into<String>) -> LoadError {
        LoadError::Unsupported { file: self.label.clone(), problem: problem.into() }
    }
}
