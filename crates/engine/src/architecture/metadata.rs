//! Reads a model's numbers from its metadata. Each is checked, and each is marked as taken.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::error::LoadError;
use crate::gguf::{Array, FromValue, GgufError, Metadata, Value};

/// The metadata of one architecture, whose keys begin with the architecture's name. Methods take the rest of
/// a key.
#[derive(Debug)]
pub(super) struct ModelMetadata<'a> {
    pub(super) all: &'a Metadata,
    pub(super) architecture: &'a str,
    /// The keys that were asked for, without the architecture.
    taken: RefCell<BTreeSet<String>>,
}

impl<'a> ModelMetadata<'a> {
    pub(super) fn new(all: &'a Metadata, architecture: &'a str) -> Self {
        Self { all, architecture, taken: RefCell::default() }
    }

    fn key(&self, rest: &str) -> String {
        format!("{}.{rest}", self.architecture)
    }

    /// Returns a value of any type, or `None` if the key is missing.
    pub(super) fn value(&self, rest: &str) -> Option<&'a Value> {
        self.take(rest);
        self.all.value(&self.key(rest))
    }

    /// Returns a value, or `None` if the key is missing.
    pub(super) fn get<T: FromValue<'a>>(&self, rest: &str) -> Result<Option<T>, LoadError> {
        self.take(rest);
        self.all.get(&self.key(rest))
    }

    /// Marks a key as taken, whatever its value.
    pub(super) fn take(&self, rest: &str) {
        self.taken.borrow_mut().insert(rest.to_owned());
    }

    /// Returns the keys of the architecture that were not taken, in alphabetical order.
    pub(super) fn rest(&self) -> Vec<(&'a str, &'a Value)> {
        let (prefix, taken) = (self.key(""), self.taken.borrow());
        let mut rest: Vec<(&str, &Value)> = self
            .all
            .iter()
            .filter(|(key, _)| key.strip_prefix(&prefix).is_some_and(|own| !taken.contains(own)))
            .collect();
        rest.sort_unstable_by_key(|(key, _)| *key);
        rest
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

    /// Returns a count from 1 to `most` that is given once for all layers or once for each, all equal; `None`
    /// if the key is missing.
    pub(super) fn per_layer_count(
        &self,
        rest: &str,
        most: usize,
        layers: usize,
    ) -> Result<Option<usize>, LoadError> {
        let Some(Value::Array(Array::Int(counts))) = self.value(rest) else {
            return self.count(rest, most);
        };
        if counts.len() != layers {
            let expected = format!("a number, or one number for each of the {layers} layers");
            return Err(self.wrong(rest, expected, format!("{} numbers", counts.len())));
        }
        let first = counts.first().copied().unwrap_or_default();
        if let Some(layer) = counts.iter().position(|count| *count != first) {
            return Err(self.all.unsupported(format!(
                "metadata {:?} is {} for layer {layer} and {first} for layer 0; supported is one number, \
                 the same for each layer",
                self.name(rest),
                counts[layer]
            )));
        }
        match usize::try_from(first) {
            Ok(count) if (1..=most).contains(&count) => Ok(Some(count)),
            _ => Err(self.wrong(rest, format!("from 1 to {most}"), first)),
        }
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

    /// What messages call a key.
    pub(super) fn name(&self, rest: &str) -> String {
        self.all.name_of(&self.key(rest)).to_owned()
    }

    /// The error for a key that is not there.
    pub(super) fn missing(&self, rest: &str) -> LoadError {
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
