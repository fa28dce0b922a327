//! JSON as template values. Numbers keep their spelling: an integer of any length is printed digit by
//! digit, as Python prints it.

use std::fmt;
use std::sync::Arc;

use minijinja::Value;
use minijinja::value::{Object, ObjectRepr};
use serde_json::Value as Json;

/// An integer that fits no primitive type.
#[derive(Debug)]
pub(super) struct LongInteger(String);

impl Object for LongInteger {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl LongInteger {
    /// Returns the digits if the value is such an integer.
    pub(super) fn digits(value: &Value) -> Option<&str> {
        value.downcast_object_ref::<Self>().map(|integer| integer.0.as_str())
    }
}

/// Converts a JSON value to a template value. (Deserializing it would turn numbers into maps, since
/// `serde_json` keeps their spelling.)
pub fn template_value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(truth) => Value::from(*truth),
        Json::Number(number) => self::number(number),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(template_value).collect(),
        Json::Object(map) => {
            Value::from_pairs(map.iter().map(|(key, value)| (key.as_str(), template_value(value))))
        }
    }
}

fn number(number: &serde_json::Number) -> Value {
    let text = number.to_string();
    let is_float = text.contains(['.', 'e', 'E']);
    if let Ok(integer) = text.parse::<i64>() {
        return Value::from(integer);
    }
    match number.as_f64() {
        Some(float) if is_float || text == "-0" => Value::from(float),
        _ => Value::from_object(LongInteger(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::python::{JsonStyle, json, str};
    use super::*;

    // Expected texts are what CPython 3.11 prints.
    #[test]
    fn numbers_keep_their_written_form() {
        for (written, printed) in [
            ("9007199254740993", "9007199254740993"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("18446744073709551616", "18446744073709551616"),
            ("1000000000000000000000000000001", "1000000000000000000000000000001"),
            ("-1000000000000000000000000000001", "-1000000000000000000000000000001"),
            ("0.1", "0.1"),
            ("1.0", "1.0"),
            ("1e30", "1e+30"),
        ] {
            let value = template_value(&serde_json::from_str(written).unwrap());
            assert_eq!(str(&value), printed);
            assert_eq!(json(&value, &JsonStyle::new(None)).unwrap(), printed);
            let list =
                template_value(&serde_json::from_str(&format!("{{\"a\": [{written}]}}")).unwrap());
            assert_eq!(
                json(&list, &JsonStyle::new(None)).unwrap(),
                format!("{{\"a\": [{printed}]}}")
            );
        }
    }
}
