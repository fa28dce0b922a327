//! Equality of JSON values: numbers are compared by value, not by spelling.

use serde_json::Value;

use super::decimal::Decimal;

/// Returns whether two values are equal in JSON Schema.
pub(super) fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            let values = Decimal::read(one).zip(Decimal::read(other));
            values.map_or(one == other, |(one, other)| one == other)
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, one)| other.get(key).is_some_and(|two| equal(one, two)))
        }
        (one, other) => one == other,
    }
}
