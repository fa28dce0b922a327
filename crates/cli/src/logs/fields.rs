//! The fields of a parsed log line, and its time.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use time::PrimitiveDateTime;
use time::macros::format_description;

/// Names and values, in their order in the log.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Fields(Vec<(String, Value)>);

impl Fields {
    /// Adds a field. Ignores a name that exists already: text appended to a line must not change its fields.
    pub(super) fn push(&mut self, name: &str, value: impl Into<Value>) {
        if self.get(name).is_none() {
            self.0.push((name.to_owned(), value.into()));
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    pub(super) fn number(&self, name: &str) -> Option<f64> {
        self.get(name).and_then(Value::as_f64)
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}

/// Parses `2025-11-21 15:30:45`, also with a `T` instead of the space. Ignores what follows.
pub(super) fn instant(text: &str) -> Option<PrimitiveDateTime> {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    PrimitiveDateTime::parse(&text.get(..19)?.replacen('T', " ", 1), format).ok()
}

/// Formats an instant as RFC 3339.
pub(super) fn rfc3339(at: PrimitiveDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    at.format(format).unwrap_or_else(|_| at.to_string())
}
