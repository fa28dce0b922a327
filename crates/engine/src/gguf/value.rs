//! Metadata values, and typed access to them.

/// A metadata value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Any integer type of the file, signed or not.
    Int(i128),
    /// `f32` or `f64`.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// UTF-8 text.
    String(String),
    /// Several values of one type.
    Array(Array),
}

/// Several values of one type.
#[derive(Debug, Clone, PartialEq)]
pub enum Array {
    /// Any integer type of the file, signed or not.
    Int(Vec<i64>),
    /// `f32` or `f64`.
    Float(Vec<f32>),
    /// `true` or `false`.
    Bool(Vec<bool>),
    /// UTF-8 texts.
    String(Vec<String>),
}

impl Array {
    /// Returns the number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::Int(values) => values.len(),
            Self::Float(values) => values.len(),
            Self::Bool(values) => values.len(),
            Self::String(values) => values.len(),
        }
    }

    /// Returns whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Value {
    /// Describes the value briefly, for messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Int(value) => format!("the integer {value}"),
            Self::Float(value) => format!("the number {value}"),
            Self::Bool(value) => format!("{value}"),
            Self::String(value) => {
                format!("the text {:?}", value.chars().take(40).collect::<String>())
            }
            Self::Array(array) => {
                let kind = match array {
                    Array::Int(_) => "integers",
                    Array::Float(_) => "numbers",
                    Array::Bool(_) => "flags",
                    Array::String(_) => "texts",
                };
                format!("an array of {} {kind}", array.len())
            }
        }
    }
}

/// A type that a metadata value can be read as.
pub trait FromValue<'a>: Sized {
    /// The name of the expected type, for messages.
    const EXPECTED: &'static str;
    /// Returns the value as this type, or `None` if it has another type.
    fn from_value(value: &'a Value) -> Option<Self>;
}

macro_rules! integer {
    ($($type:ty => $expected:literal),*) => {$(
        impl FromValue<'_> for $type {
            const EXPECTED: &'static str = $expected;
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::Int(value) => Self::try_from(*value).ok(),
                    _ => None,
                }
            }
        }
    )*};
}
integer!(
    u32 => "an integer from 0 to 4294967295",
    u64 => "an integer from 0",
    usize => "an integer from 0",
    i64 => "an integer"
);

impl FromValue<'_> for f32 {
    const EXPECTED: &'static str = "a number";
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Float(value) => Some(*value as f32),
            Value::Int(value) => Some(*value as f32),
            _ => None,
        }
    }
}

impl FromValue<'_> for bool {
    const EXPECTED: &'static str = "true or false";
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for &'a str {
    const EXPECTED: &'static str = "a text";
    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::String(value) => Some(value),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for &'a [String] {
    const EXPECTED: &'static str = "an array of texts";
    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::Array(Array::String(values)) => Some(values),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for &'a [i64] {
    const EXPECTED: &'static str = "an array of integers";
    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::Array(Array::Int(values)) => Some(values),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for &'a [f32] {
    const EXPECTED: &'static str = "an array of numbers";
    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::Array(Array::Float(values)) => Some(values),
            _ => None,
        }
    }
}
