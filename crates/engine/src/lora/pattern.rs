//! Ranks and alphas of single modules: `rank_pattern` and `alpha_pattern`.

use regex::{Regex, RegexBuilder};

use super::AdapterError;
use crate::safetensors::{Object, SafetensorsError};

/// The most keys of a pattern: more than one for every projection of a hundred layers.
const MAX_PATTERN_KEYS: usize = 1024;
/// The most bytes of one compiled key.
const MAX_COMPILED_BYTES: usize = 1 << 18;

/// Values for the modules whose names end with a match of a key. As in PEFT, keys are regular
/// expressions.
pub(super) struct Patterns {
    key: &'static str,
    values: Vec<(Regex, f64)>,
}

impl Patterns {
    /// Reads the object under `key`. Returns an empty one if there is none.
    pub(super) fn read(config: &Object, key: &'static str) -> Result<Self, AdapterError> {
        let Some(value) = config.get(key) else { return Ok(Self { key, values: Vec::new() }) };
        let wrong = |expected: &str| AdapterError::from(config.wrong(key, expected, value));
        let entries = value.as_object().ok_or_else(|| wrong("an object of numbers"))?;
        if entries.len() > MAX_PATTERN_KEYS {
            return Err(wrong(&format!("an object of at most {MAX_PATTERN_KEYS} keys")));
        }
        let entry = |(name, value): (&String, &serde_json::Value)| {
            let number = value.as_f64().ok_or_else(|| wrong("an object of numbers"))?;
            let regex = RegexBuilder::new(&format!(r"^(?:.*\.)?(?:{name})$"))
                .size_limit(MAX_COMPILED_BYTES)
                .build()
                .map_err(|_| {
                    let shown: String = name.chars().take(60).collect();
                    SafetensorsError::WrongValue {
                        name: config.name,
                        key: key.to_owned(),
                        expected:
                            "an object whose keys are names of modules or regular expressions \
                                   without look-around"
                                .to_owned(),
                        found: format!("one with the key {shown:?}"),
                    }
                })?;
            Ok((regex, number))
        };
        let values = entries.iter().map(entry).collect::<Result<_, AdapterError>>()?;
        Ok(Self { key, values })
    }

    /// Returns the value for a module, if a key matches it. PEFT takes the first key that matches,
    /// but a JSON object has no order; so keys that match the same module with different values are
    /// refused.
    pub(super) fn of(&self, module: &str) -> Result<Option<f64>, AdapterError> {
        let mut found = None;
        for (_, value) in self.values.iter().filter(|(regex, _)| regex.is_match(module)) {
            if found.is_some_and(|other| other != *value) {
                return Err(AdapterError::Ambiguous { key: self.key, module: module.to_owned() });
            }
            found = Some(*value);
        }
        Ok(found)
    }
}
