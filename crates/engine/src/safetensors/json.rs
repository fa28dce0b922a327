//! Reads the JSON files beside the weights.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::SafetensorsError;
use crate::foreign;

/// The maximum size of these files: Qwen's tokenizer.json has 11 MB.
pub(super) const MOST_BYTES: u64 = 128 << 20;

/// Parses a file of the folder; `None` if it does not exist.
pub(super) fn read<T: DeserializeOwned>(
    folder: &Path,
    name: &str,
) -> Result<Option<T>, SafetensorsError> {
    let Some(text) = text(folder, name)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| SafetensorsError::BadJson {
        name: name.to_owned(),
        problem: error.to_string(),
    })
}

/// Returns the text of a file of the folder; `None` if it does not exist.
pub(super) fn text(folder: &Path, name: &str) -> Result<Option<String>, SafetensorsError> {
    let unreadable = |error: std::io::Error| SafetensorsError::Unreadable {
        name: name.to_owned(),
        problem: error.to_string(),
    };
    let file = match File::open(folder.join(name)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let len = file.metadata().map_err(unreadable)?.len();
    if len > MOST_BYTES {
        return Err(SafetensorsError::TooLarge { name: name.to_owned(), len, most: MOST_BYTES });
    }
    let mut text = String::new();
    file.take(MOST_BYTES).read_to_string(&mut text).map_err(unreadable)?;
    // A tokenizer.json is large enough to be stored in Git LFS.
    if let Some(foreign) = foreign::kind(text.as_bytes()) {
        let problem = foreign.describe(len);
        return Err(SafetensorsError::Foreign { name: name.to_owned(), problem });
    }
    Ok(Some(text))
}

/// A JSON object of the folder, read by key. Records which keys were read.
pub(crate) struct Object {
    pub(crate) name: &'static str,
    pub(crate) values: Map<String, Value>,
    taken: RefCell<BTreeSet<String>>,
}

impl Object {
    /// Reads the object in a file; `None` if the file does not exist.
    pub(crate) fn read(
        folder: &Path,
        name: &'static str,
    ) -> Result<Option<Self>, SafetensorsError> {
        Ok(read(folder, name)?.map(|values| Self::new(name, values)))
    }

    /// Creates an object that messages call `name`.
    pub(crate) fn new(name: &'static str, values: Map<String, Value>) -> Self {
        Self { name, values, taken: RefCell::default() }
    }

    /// Returns a value, or `None` if it is missing or null.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.taken.borrow_mut().insert(key.to_owned());
        self.values.get(key).filter(|value| !value.is_null())
    }

    /// Returns the values that are not null and were not read.
    pub(crate) fn rest(&self) -> impl Iterator<Item = (&str, &Value)> {
        let taken = self.taken.borrow().clone();
        let rest = self
            .values
            .iter()
            .filter(move |(key, value)| !value.is_null() && !taken.contains(key.as_str()));
        rest.map(|(key, value)| (key.as_str(), value))
    }

    /// Returns a non-negative integer.
    pub(crate) fn integer(&self, key: &str) -> Result<Option<u64>, SafetensorsError> {
        self.typed(key, "an integer from 0", Value::as_u64)
    }

    /// Returns a list of integers.
    pub(crate) fn integers(&self, key: &str) -> Result<Option<Vec<i64>>, SafetensorsError> {
        let integers = |value: &Value| value.as_array()?.iter().map(Value::as_i64).collect();
        self.typed(key, "a list of integers", integers)
    }

    /// Returns a number.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, SafetensorsError> {
        self.typed(key, "a number", Value::as_f64)
    }

    /// Returns a boolean.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, SafetensorsError> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// Returns a text.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>, SafetensorsError> {
        self.typed(key, "a text", Value::as_str)
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, SafetensorsError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.wrong(key, expected, value))
    }

    /// Returns the error for a missing key.
    pub(crate) fn missing(&self, key: &str, expected: &'static str) -> SafetensorsError {
        SafetensorsError::MissingKey { name: self.name, key: key.to_owned(), expected }
    }

    /// Returns the error for an invalid value.
    pub(crate) fn wrong(
        &self,
        key: &str,
        expected: impl Into<String>,
        found: &Value,
    ) -> SafetensorsError {
        let found: String = found.to_string().chars().take(60).collect();
        let (name, key) = (self.name, key.to_owned());
        SafetensorsError::WrongValue { name, key, expected: expected.into(), found }
    }
}
