//! Reads typed fields from a JSON object and collects all problems.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::whole::Whole;
use super::{FieldError, Loc, echo, suggest, type_name};

/// Maximum number of unknown fields that are reported one by one.
const MAX_UNKNOWN_NAMED: usize = 16;

/// An integer field some of whose values mean "not set".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OptionalCount {
    /// The number.
    Number(u64),
    /// A value that means "not set" by convention: `-1` for "any", `0` for "off".
    NoNumber,
}

/// The fields of a body and the problems found so far. `null` is treated as absent.
pub(crate) struct Fields<'a> {
    map: &'a Map<String, Value>,
    errors: Vec<FieldError>,
}

impl<'a> Fields<'a> {
    /// Starts reading a body, which must be an object that has only fields in `known`.
    pub(crate) fn new(body: &'a Value, known: &[&str]) -> Result<Self, Vec<FieldError>> {
        let mut fields = Self::lenient(body)?;
        fields.refuse_unknown(known);
        Ok(fields)
    }

    /// Starts reading a body, which must be an object. Fields that are not read are ignored.
    pub(crate) fn lenient(body: &'a Value) -> Result<Self, Vec<FieldError>> {
        let Value::Object(map) = body else {
            return Err(vec![FieldError::new(
                ["body".into()],
                "dict_type",
                format!("expected a JSON object, got {}", type_name(body)),
            )]);
        };
        Ok(Self { map, errors: Vec::new() })
    }

    /// Returns the request if no problem was found.
    pub(crate) fn finish<T>(self, request: Option<T>) -> Result<T, Vec<FieldError>> {
        match request {
            Some(request) if self.errors.is_empty() => Ok(request),
            _ => Err(self.errors),
        }
    }

    /// Records a problem with a field.
    pub(crate) fn problem(&mut self, name: &str, kind: &'static str, message: impl Into<String>) {
        self.errors.push(FieldError::new(["body".into(), name.into()], kind, message));
    }

    /// Records a problem at a path within the body: `["messages", 0, "content"]`.
    pub(crate) fn problem_within(
        &mut self,
        path: &[Loc],
        kind: &'static str,
        message: impl Into<String>,
    ) {
        let loc = std::iter::once("body".into()).chain(path.iter().cloned()).collect();
        self.errors.push(FieldError { loc, message: message.into(), kind });
    }

    /// Records a problem with an entry of an object.
    pub(crate) fn problem_in(
        &mut self,
        name: &str,
        entry: &str,
        kind: &'static str,
        message: impl Into<String>,
    ) {
        let loc = ["body".into(), name.into(), Loc::Name(echo(entry))];
        self.errors.push(FieldError::new(loc, kind, message));
    }

    /// Records a problem with an element of an array.
    pub(crate) fn problem_at(
        &mut self,
        name: &str,
        index: usize,
        kind: &'static str,
        message: impl Into<String>,
    ) {
        let loc = ["body".into(), name.into(), Loc::Index(index)];
        self.errors.push(FieldError::new(loc, kind, message));
    }

    fn refuse_unknown(&mut self, known: &[&str]) {
        let mut unknown = self.map.keys().filter(|name| !known.contains(&name.as_str()));
        let named: Vec<_> = unknown.by_ref().take(MAX_UNKNOWN_NAMED).collect();
        let more = unknown.count();
        let allowed = known.join(", ");
        for name in named {
            let hint = match suggest::closest(name, known) {
                Some(meant) => format!("did you mean '{meant}'? "),
                None => String::new(),
            };
            let message = format!("unknown field '{}'; {hint}Allowed: {allowed}", echo(name));
            self.problem(&echo(name), "extra_forbidden", message);
        }
        if more > 0 {
            let message = format!("{more} more unknown fields. Allowed: {allowed}");
            self.errors.push(FieldError::new(["body".into()], "extra_forbidden", message));
        }
    }

    /// Returns a field's value, or `None` if it is absent or `null`.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// Returns the value of a mandatory field.
    pub(crate) fn required(&mut self, name: &str, expected: &str) -> Option<&'a Value> {
        let value = self.map.get(name);
        match value {
            None => self.problem(name, "missing", format!("this field is required: {expected}")),
            Some(Value::Null) => {
                self.problem(name, "missing", format!("expected {expected}, got null"));
            }
            Some(_) => return value,
        }
        None
    }

    /// Returns the value as a string, which it must be.
    pub(crate) fn text(&mut self, name: &str, value: &'a Value) -> Option<&'a str> {
        let text = value.as_str();
        if text.is_none() {
            let got = type_name(value);
            self.problem(name, "string_type", format!("expected a string, got {got}"));
        }
        text
    }

    /// Reads an optional integer within a range.
    pub(crate) fn integer(&mut self, name: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.get(name)?;
        let (least, most) = (*range.start(), *range.end());
        let Some(number) = value.as_number() else {
            let message =
                format!("expected an integer from {least} to {most}, got {}", type_name(value));
            self.problem(name, "int_type", message);
            return None;
        };
        let kind = match Whole::of(&number.to_string()) {
            Whole::Is(whole) if range.contains(&whole) => return Some(whole),
            Whole::Is(whole) if whole < least => "greater_than_equal",
            Whole::Negative => "greater_than_equal",
            Whole::Is(_) | Whole::TooLarge => "less_than_equal",
            Whole::Fraction => "int_from_float",
        };
        self.problem(
            name,
            kind,
            format!("must be an integer from {least} to {most}, got {number}"),
        );
        None
    }

    /// Reads an optional integer within a range, or one of the numbers in `none`, which mean "not
    /// set".
    pub(crate) fn integer_or_none(
        &mut self,
        name: &str,
        range: RangeInclusive<u64>,
        none: &[i64],
    ) -> Option<OptionalCount> {
        let number = self.get(name).and_then(Value::as_f64);
        if number.is_some_and(|number| none.iter().any(|none| number == *none as f64)) {
            return Some(OptionalCount::NoNumber);
        }
        self.integer(name, range).map(OptionalCount::Number)
    }

    /// Reads an optional number that `accepts` allows; `allowed` describes the allowed values.
    pub(crate) fn number(
        &mut self,
        name: &str,
        allowed: impl Fn() -> String,
        accepts: impl Fn(f64) -> Result<(), &'static str>,
    ) -> Option<f64> {
        let value = self.get(name)?;
        let Some(number) = value.as_f64().filter(|number| number.is_finite()) else {
            let message = format!("expected a number {}, got {}", allowed(), type_name(value));
            self.problem(name, "float_type", message);
            return None;
        };
        if let Err(kind) = accepts(number) {
            self.problem(name, kind, format!("must be {}, got {number}", allowed()));
            return None;
        }
        Some(number)
    }

    /// Reads an optional boolean.
    pub(crate) fn boolean(&mut self, name: &str) -> Option<bool> {
        let value = self.get(name)?;
        if !value.is_boolean() {
            let message = format!("expected true or false, got {}", type_name(value));
            self.problem(name, "bool_type", message);
        }
        value.as_bool()
    }

    /// Reads an optional string of at most `most` characters.
    pub(crate) fn short_text(&mut self, name: &str, most: usize) -> Option<String> {
        let value = self.get(name)?;
        let text = self.text(name, value)?;
        let length = text.chars().count();
        if length > most {
            let message = format!("must have at most {most} characters, has {length}");
            self.problem(name, "string_too_long", message);
        }
        Some(text.to_owned())
    }

    /// Reads an optional string or array of at most `most` strings, each non-empty and of at most
    /// `most_bytes`.
    pub(crate) fn texts(&mut self, name: &str, most: usize, most_bytes: usize) -> Vec<String> {
        let items = match self.get(name) {
            None => return Vec::new(),
            Some(one @ Value::String(_)) => std::slice::from_ref(one),
            Some(Value::Array(items)) => items.as_slice(),
            Some(other) => {
                let got = type_name(other);
                let message = format!("expected a string or an array of strings, got {got}");
                self.problem(name, "list_type", message);
                return Vec::new();
            }
        };
        if items.len() > most {
            let message = format!("must have at most {most} strings, has {}", items.len());
            self.problem(name, "too_long", message);
            return Vec::new();
        }
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match item.as_str() {
                None => {
                    let message = format!("expected a string, got {}", type_name(item));
                    self.problem_at(name, index, "string_type", message);
                }
                Some("") => {
                    let message = "must not be empty";
                    self.problem_at(name, index, "string_too_short", message);
                }
                Some(text) if text.len() > most_bytes => {
                    let message =
                        format!("must have at most {most_bytes} bytes, has {}", text.len());
                    self.problem_at(name, index, "string_too_long", message);
                }
                Some(text) => texts.push(text.to_owned()),
            }
        }
        texts
    }
}
