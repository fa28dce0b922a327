//! Values for some modules: `rank_pattern` and `alpha_pattern`.

use regex::{Regex, RegexBuilder};

use super::AdapterError;
use crate::safetensors::{Object, SafetensorsError};

/// The most keys that are read: one for every projection of a hundred layers and more.
const MOST_KEYS: usize = 1024;
/// Bytes that one compiled key may have.
const MOST_COMPILED: usize = 1 << 18;

/// Values for the modules whose names end as a key says. Keys are regular expressions, as PEFT takes them.
pub(super) struct Patterns {
    key: &'static str,
    values: Vec<(Regex, f64)>,
}

impl Patterns {
    /// The object under `key`; none if it is not there.
    pub(super) fn read(config: &Object, key: &'static str) -> Result<Self, AdapterError> {
        let Some(value) = config.get(key) else { return Ok(Self { key, values: Vec::new() }) };
        let wrong = |expected: &str| AdapterError::from(config.wrong(key, expected, value));
        let entries = value.as_object().ok_or_else(|| wrong("an object of numbers"))?;
        if entries.len() > MOST_KEYS {
            return Err(wrong(&format!("an object of at most {MOST_KEYS} keys")));
        }
        let entry = |(name, value): (&String, &serde_json::Value)| {
            let number = value.as_f64().ok_or_else(|| wrong("an object of numbers"))?;
            let regex = RegexBuilder::new(&format!(r"^(?:.*\.)?(?:{name})$"))
                .size_limit(MOST_COMPILED)
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

    /// The value for a module, if one is said. PEFT takes the first key that matches; an order is nothing
    /// that a JSON object has, so keys that say different things are refused.
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
