//! Numbers within enums that name their kind, and within flattened structs.
//!
//! `serde_json` keeps numbers as they were written (`arbitrary_precision`), and where serde has to buffer
//! a value it shows a fraction as a map of its own, which `f32` does not read. So a field that is a
//! fraction and travels in such a place is read as a JSON number first.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Number;

/// Reads a field, wherever it stands.
pub(crate) fn read_f32<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
    let number = Number::deserialize(deserializer)?;
    // Through its text: a number rounded to 64 bits and then to 32 may be another.
    number.to_string().parse().map_err(|_| D::Error::custom("a number was expected"))
}
