//! Finds duplicate keys in the objects of a valid JSON text. `serde_json` silently keeps the last
//! one.

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{FieldError, Loc, echo};

/// Returns the problem with the first duplicate key, or `None` if there is none.
pub(super) fn first(body: &[u8]) -> Option<FieldError> {
    let mut found = None;
    let mut path = vec![Loc::from("body")];
    let mut reader = serde_json::Deserializer::from_slice(body);
    // The only error that can occur is ours, because the text is valid JSON.
    let _ = Look { path: &mut path, found: &mut found }.deserialize(&mut reader);
    let key = found?;
    let message = format!("the key '{}' is given twice in one object: give it once", echo(&key));
    path.push(Loc::Name(echo(&key)));
    Some(FieldError { loc: path, message, kind: "duplicate_key" })
}

/// Walks a value and tracks the path to it.
struct Look<'a> {
    path: &'a mut Vec<Loc>,
    found: &'a mut Option<String>,
}

impl Look<'_> {
    fn below(&mut self, step: Loc) -> Look<'_> {
        self.path.push(step);
        Look { path: self.path, found: self.found }
    }
}

impl<'de> DeserializeSeed<'de> for Look<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if keys.contains(&key) {
                *self.found = Some(key);
                return Err(de::Error::custom("a duplicate"));
            }
            map.next_value_seed(self.below(Loc::Name(echo(&key))))?;
            self.path.pop();
            keys.insert(key);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let mut index = 0;
        while items.next_element_seed(self.below(Loc::Index(index)))?.is_some() {
            self.path.pop();
            index += 1;
        }
        self.path.pop();
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(body: &str) -> Option<(serde_json::Value, String)> {
        first(body.as_bytes()).map(|error| (json!(error.loc), error.message))
    }

    #[test]
    fn duplicate_keys_are_found_at_every_depth() {
        for (body, loc, key) in [
            (r#"{"prompt": "a", "prompt": "b"}"#, json!(["body", "prompt"]), "prompt"),
            (r#"{"a": 1, "b": {"c": 1, "d": [], "c": 1}}"#, json!(["body", "b", "c"]), "c"),
            (r#"{"a": [0, {}, [{"x": 1, "x": 2}]]}"#, json!(["body", "a", 2, 0, "x"]), "x"),
            // The same key with an escape.
            (r#"{"seed": 1, "\u0073eed": 2}"#, json!(["body", "seed"]), "seed"),
            (r#"[1, {"": 1, "": 2}]"#, json!(["body", 1, ""]), ""),
            (
                r#"{"a": 1e3, "b": -1, "c": 18446744073709551616, "a": null}"#,
                json!(["body", "a"]),
                "a",
            ),
        ] {
            let (at, message) = found(body).expect(body);
            assert_eq!(at, loc, "{body}");
            assert_eq!(
                message,
                format!("the key '{key}' is given twice in one object: give it once")
            );
        }
        for body in [
            r#"{"a": {"a": {"a": 1}}, "b": [{"a": 1}, {"a": 2}], "A": 1}"#,
            r#"["a", "a", 1.5, 1.5, null, null, true, true, 1e300]"#,
            r#""a""#,
            "7",
        ] {
            assert_eq!(found(body), None, "{body}");
        }
    }

    #[test]
    fn long_duplicate_key_is_shortened_in_the_message() {
        let key = "k".repeat(1000);
        let (loc, message) = found(&format!(r#"{{"{key}": 1, "{key}": 2}}"#)).unwrap();
        assert!(loc[1].as_str().unwrap().len() < 70 && message.len() < 140, "{loc} {message}");
    }
}
