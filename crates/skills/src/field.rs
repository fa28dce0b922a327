//! The fields of a skill: what a request may say besides its prompt, its images and the parameters of all requests.

use serde_json::{Map, Value, json};

/// Maximum length of a text, in characters, unless a field says another.
pub(crate) const MAX_TEXT_CHARS: usize = 4_000;

/// A field.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name in requests and templates.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its values.
    pub kind: FieldKind,
    /// The value if a request has none; a field without one is required.
    pub default: Option<Value>,
}

/// The values of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldKind {
    /// A text of 1 to `max_chars` characters.
    Text {
        /// Maximum length.
        max_chars: usize,
    },
    /// One of several texts.
    Choice {
        /// The texts.
        choices: Vec<String>,
    },
    /// A whole number.
    Integer {
        /// The least.
        min: Option<i64>,
        /// The most.
        max: Option<i64>,
    },
    /// A number.
    Number {
        /// The least.
        min: Option<f64>,
        /// The most.
        max: Option<f64>,
    },
    /// A truth value.
    Boolean,
    /// A JSON object, such as a form to fill in.
    Object,
}

/// A field of a request that is not as the skill says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldProblem {
    /// The field.
    pub field: String,
    /// The kind of problem, as pydantic names it.
    pub kind: &'static str,
    /// What is wrong, and what is allowed.
    pub message: String,
}

impl FieldProblem {
    /// Creates a problem of a field.
    pub(crate) fn new(field: &str, kind: &'static str, message: impl Into<String>) -> Self {
        Self { field: field.to_owned(), kind, message: message.into() }
    }
}

impl FieldKind {
    /// Checks a value.
    ///
    /// # Errors
    /// If it is not allowed: the kind of the problem, as pydantic names it, and what is allowed.
    pub(crate) fn check(&self, value: &Value) -> Result<(), (&'static str, String)> {
        match self {
            Self::Text { max_chars } => {
                let most = *max_chars;
                let text = value.as_str().ok_or(("string_type", "expected a text".to_owned()))?;
                match text.chars().count() {
                    0 => Err(("string_too_short", "must not be empty".to_owned())),
                    length if length > most => {
                        let message =
                            format!("at most {most} characters are allowed, has {length}");
                        Err(("string_too_long", message))
                    }
                    _ => Ok(()),
                }
            }
            Self::Choice { choices } => match value.as_str() {
                Some(text) if choices.iter().any(|choice| choice == text) => Ok(()),
                _ => Err(("enum", format!("must be one of: {}", choices.join(", ")))),
            },
            Self::Integer { min, max } => {
                let number = value.as_i64();
                let number = number.ok_or(("int_type", "expected a whole number".to_owned()))?;
                within(number, *min, *max)
            }
            Self::Number { min, max } => {
                let number = value.as_f64().filter(|number| number.is_finite());
                let number = number.ok_or(("float_type", "expected a number".to_owned()))?;
                within(number, *min, *max)
            }
            Self::Boolean if value.is_boolean() => Ok(()),
            Self::Boolean => Err(("bool_type", "expected true or false".to_owned())),
            Self::Object if value.is_object() => Ok(()),
            Self::Object => Err(("dict_type", "expected a JSON object".to_owned())),
        }
    }

    /// Returns a value that is allowed, to try templates.
    pub(crate) fn sample(&self) -> Value {
        match self {
            Self::Text { .. } => json!("x"),
            Self::Choice { choices } => json!(choices.first()),
            Self::Integer { min, max } => json!(min.or(*max).unwrap_or(1)),
            Self::Number { min, max } => json!(min.or(*max).unwrap_or(1.0)),
            Self::Boolean => json!(true),
            Self::Object => json!({"a": "b"}),
        }
    }

    /// Returns its JSON schema.
    fn schema(&self) -> Map<String, Value> {
        let bounds = |kind: &str, least: Value, most: Value| {
            let all = [("type", json!(kind)), ("minimum", least), ("maximum", most)];
            let set = all.into_iter().filter(|(_, value)| !value.is_null());
            set.map(|(name, value)| (name.to_owned(), value)).collect()
        };
        let schema = match self {
            Self::Text { max_chars } => {
                json!({"type": "string", "minLength": 1, "maxLength": max_chars})
            }
            Self::Choice { choices } => json!({"type": "string", "enum": choices}),
            Self::Integer { min, max } => return bounds("integer", json!(min), json!(max)),
            Self::Number { min, max } => return bounds("number", json!(min), json!(max)),
            Self::Boolean => json!({"type": "boolean"}),
            Self::Object => json!({"type": "object"}),
        };
        match schema {
            Value::Object(schema) => schema,
            _ => Map::new(),
        }
    }
}

impl Field {
    /// Returns its JSON schema.
    pub fn schema(&self) -> Value {
        let mut schema = self.kind.schema();
        schema.insert("description".to_owned(), json!(self.description));
        if let Some(default) = &self.default {
            schema.insert("default".to_owned(), default.clone());
        }
        Value::Object(schema)
    }
}

fn within<T: PartialOrd + std::fmt::Display>(
    number: T,
    min: Option<T>,
    max: Option<T>,
) -> Result<(), (&'static str, String)> {
    match (min, max) {
        (Some(min), _) if number < min => {
            Err(("greater_than_equal", format!("must be at least {min}")))
        }
        (_, Some(max)) if number > max => {
            Err(("less_than_equal", format!("must be at most {max}")))
        }
        _ => Ok(()),
    }
}
