//! Deserializes numbers in internally tagged enums and flattened structs.
//!
//! `serde_json` keeps numbers as written (`arbitrary_precision`). If serde has to buffer a value, it
//! represents a fraction as a special map, which `f32` can't be deserialized from. So a number in such
//! a place is deserialized as a JSON number first.

use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Number;

/// Deserializes a field in any context.
pub(crate) fn read_f32<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
    read_optional(deserializer)?.ok_or_else(|| D::Error::custom("a number was expected"))
}

/// Deserializes an optional field in any context.
pub(crate) fn read_optional<'de, D: Deserializer<'de>, T: FromStr>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let number = Option::<Number>::deserialize(deserializer)?;
    // Parse the text: rounding to 64 bits and then to 32 may give another number.
    let parse = |number: Number| number.to_string().parse().map_err(|_| number);
    number.map(parse).transpose().map_err(|_| D::Error::custom("a number was expected"))
}
