//! How tokens are sampled. Each number is defined once, in the table at the end: from it follow the field of
//! [`Sampling`], the gateway's range check and OpenAPI schema, the flag of `submit`, and whether a model may
//! recommend a value.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::number;

/// The value of a field, of whichever type the field has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A fraction.
    Fraction(f32),
    /// A whole number.
    Whole(u64),
}

/// The values that a field may have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Range {
    /// Fractions from `least` (excluded if `above`) to `most`.
    Fraction {
        /// The lower bound.
        least: f64,
        /// Whether the lower bound itself is excluded.
        above: bool,
        /// The upper bound.
        most: f64,
    },
    /// Whole numbers from `least` to `most`. A request may send one of `none` for the neutral value or, if there
    /// is none, for "not set".
    Whole {
        /// The lower bound.
        least: u64,
        /// The upper bound.
        most: u64,
        /// Numbers that mean "none" by the conventions of other servers.
        none: &'static [i64],
    },
}

/// A row of the table of sampling fields.
#[derive(Debug)]
pub struct SamplingField {
    /// Its name in requests.
    pub name: &'static str,
    /// Its values.
    pub range: Range,
    /// The value that changes nothing; `None` if there is no such value.
    pub neutral: Option<Number>,
    /// The service's value if neither the request nor the model sets one and it is not the neutral one.
    pub default: Option<f32>,
    /// The name in GGUF's `general.sampling.*` under which a model recommends a value, if it may.
    pub recommended_as: Option<&'static str>,
    /// An example.
    pub example: f64,
    /// Its description, for OpenAPI and as the help of the flag.
    pub description: &'static str,
}

impl Range {
    /// Describes the allowed values, to follow "must be".
    pub fn allowed(&self) -> String {
        match self {
            Self::Fraction { least, above: true, most } => {
                format!("above {least} and at most {most}")
            }
            Self::Fraction { least, above: false, most } => format!("from {least} to {most}"),
            Self::Whole { least, most, .. } => format!("from {least} to {most}"),
        }
    }

    /// Checks a fraction; the error is the kind of violation, as pydantic names it.
    pub fn check(&self, number: f64) -> Result<(), &'static str> {
        let (least, above, most) = match *self {
            Self::Fraction { least, above, most } => (least, above, most),
            Self::Whole { least, most, .. } => (least as f64, false, most as f64),
        };
        match number {
            x if above && x <= least => Err("greater_than"),
            x if x < least => Err("greater_than_equal"),
            x if x > most => Err("less_than_equal"),
            _ => Ok(()),
        }
    }

    /// Converts a fraction that [`Self::check`] accepted, without rounding a positive one to an excluded 0.
    pub fn fraction(&self, number: f64) -> Number {
        let rounded = number as f32;
        Number::Fraction(match self {
            Self::Fraction { above: true, .. } => rounded.max(f32::MIN_POSITIVE),
            _ => rounded,
        })
    }
}

impl SamplingField {
    /// Returns the OpenAPI schema of the field in a request.
    pub fn schema(&self) -> Value {
        let mut schema = json!({"description": self.description});
        let number = |x: f64| if x.fract() == 0.0 { json!(x as i64) } else { json!(x) };
        match self.range {
            Range::Fraction { least, above, most } => {
                schema["type"] = json!(["number", "null"]);
                schema["format"] = json!("float");
                schema[if above { "exclusiveMinimum" } else { "minimum" }] = number(least);
                schema["maximum"] = number(most);
            }
            Range::Whole { least, most, none } => {
                schema["type"] = json!(["integer", "null"]);
                let none = none.iter().min().copied();
                schema["minimum"] = none.map_or_else(|| json!(least), |none| json!(none));
                schema["maximum"] = json!(most);
            }
        }
        // A whole number that is neutral stands for "none", and null says that already.
        let default = self.default.map(Number::Fraction).or(self.neutral);
        if let Some(Number::Fraction(default)) = default {
            schema["default"] = match default.fract() {
                0.0 => json!(default as i64),
                _ => Number::Fraction(default).json(),
            };
        }
        schema["example"] = number(self.example);
        schema
    }
}

impl Number {
    /// Returns the number as JSON: 0.7, not the double that is nearest to the float.
    pub fn json(self) -> Value {
        match self {
            Self::Fraction(x) => x.to_string().parse::<f64>().map_or(Value::Null, Value::from),
            Self::Whole(n) => json!(n),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fraction(x) => x.fmt(f),
            Self::Whole(n) => n.fmt(f),
        }
    }
}

impl From<f32> for Number {
    fn from(number: f32) -> Self {
        Self::Fraction(number)
    }
}

impl From<u32> for Number {
    fn from(number: u32) -> Self {
        Self::Whole(number.into())
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

/// The types that a field may have.
trait FieldType: Sized {
    fn of(number: Number) -> Option<Self>;
}

impl FieldType for f32 {
    fn of(number: Number) -> Option<Self> {
        match number {
            Number::Fraction(x) => Some(x),
            Number::Whole(n) => Some(n as Self),
        }
    }
}

impl FieldType for u32 {
    fn of(number: Number) -> Option<Self> {
        u64::of(number).and_then(|n| Self::try_from(n).ok())
    }
}

impl FieldType for u64 {
    fn of(number: Number) -> Option<Self> {
        match number {
            Number::Whole(n) => Some(n),
            Number::Fraction(x) => (x >= 0.0 && x.fract() == 0.0).then_some(x as Self),
        }
    }
}

/// Creates [`Sampling`] from its table.
macro_rules! sampling {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident: $type:ident in $range:expr,
            $(neutral $neutral:literal,)? $(default $default:literal,)?
            $(recommended as $recommended:literal,)? example $example:literal;
    )+) => {
        /// How tokens are sampled. `None` is not set: then the model's recommendation applies, then the service's
        /// default; the engine takes it for the value that changes nothing.
        ///
        /// The fields apply in this order: `logit_bias`, penalties, the request's constraint, `temperature`,
        /// `top_k`, `top_p`, `min_p`.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        pub struct Sampling {
            $(
                $(#[doc = $doc])+
                #[serde(
                    default,
                    skip_serializing_if = "Option::is_none",
                    deserialize_with = "number::read_optional"
                )]
                pub $name: Option<$type>,
            )+
            /// Added to the logits of these tokens, by token id. -100 to 100.
            #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
            pub logit_bias: BTreeMap<u32, f32>,
            /// Returns the log probability of each token of the answer, and of this many of the most likely
            /// tokens at its position, at most [`Sampling::MAX_TOP_LOGPROBS`].
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub logprobs: Option<u32>,
        }

        impl Sampling {
            /// The table: all fields that are numbers.
            pub const FIELDS: &'static [SamplingField] = &[$(
                SamplingField {
                    name: stringify!($name),
                    range: $range,
                    neutral: number_or_none!($type $($neutral)?),
                    default: literal_or_none!($($default)?),
                    recommended_as: literal_or_none!($($recommended)?),
                    example: $example as f64,
                    description: concat!($($doc),+).trim_ascii(),
                },
            )+];

            /// Returns the value of a field by its name; `None` if it is not set or there is no such field.
            pub fn get(&self, name: &str) -> Option<Number> {
                match name {
                    $(stringify!($name) => self.$name.map(Number::from),)+
                    _ => None,
                }
            }

            /// Sets a field by its name. A number that its type can't represent unsets it.
            pub fn set(&mut self, name: &str, number: Option<Number>) {
                match name {
                    $(stringify!($name) => self.$name = number.and_then(FieldType::of),)+
                    _ => {}
                }
            }

            $($(
                #[doc = concat!("Returns `", stringify!($name), "`, by default ", stringify!($neutral), ", which changes nothing.")]
                pub fn $name(&self) -> $type {
                    self.$name.unwrap_or($neutral)
                }
            )?)+
        }
    };
}

macro_rules! number_or_none {
    ($type:ident) => {
        None
    };
    (f32 $value:literal) => {
        Some(Number::Fraction($value))
    };
    ($type:ident $value:literal) => {
        Some(Number::Whole($value))
    };
}

macro_rules! literal_or_none {
    () => {
        None
    };
    ($value:literal) => {
        Some($value)
    };
}

impl Sampling {
    /// The largest value of `logprobs`.
    pub const MAX_TOP_LOGPROBS: u32 = 20;

    /// Returns greedy decoding, whatever a model recommends.
    pub fn greedy() -> Self {
        let mut neutral = Self::default();
        for field in Self::FIELDS {
            neutral.set(field.name, field.neutral);
        }
        Self { temperature: Some(0.0), ..neutral }
    }

    /// Returns whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the fields for which a model may recommend a value, with their names in GGUF.
    pub fn recommendable() -> impl Iterator<Item = (&'static SamplingField, &'static str)> {
        Self::FIELDS.iter().filter_map(|field| Some((field, field.recommended_as?)))
    }

    /// Returns the values of `recommended` for fields that are not set here.
    pub fn used_of(&self, recommended: &Self) -> Self {
        let mut used = Self::default();
        for (field, _) in Self::recommendable().filter(|(field, _)| self.get(field.name).is_none())
        {
            used.set(field.name, recommended.get(field.name));
        }
        used
    }

    /// Returns these options with what is not set taken from `recommended`, and then from the service's defaults.
    pub fn resolved(&self, recommended: &Self) -> Self {
        let mut resolved = self.clone();
        for field in Self::FIELDS.iter().filter(|field| self.get(field.name).is_none()) {
            let default = field.default.map(Number::Fraction);
            resolved.set(field.name, recommended.get(field.name).or(default));
        }
        resolved
    }
}

/// `temperature 0.6, top_k 20`.
impl fmt::Display for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = Self::FIELDS.iter().filter_map(|field| {
            self.get(field.name).map(|number| format!("{} {number}", field.name))
        });
        f.write_str(&set.collect::<Vec<_>>().join(", "))
    }
}

const fn from(least: f64, most: f64) -> Range {
    Range::Fraction { least, above: false, most }
}

const fn above(least: f64, most: f64) -> Range {
    Range::Fraction { least, above: true, most }
}

sampling! {
    /// The randomness of the draw: 0 always takes the most likely token. When not given: what the model's makers
    /// recommend, else 0.7.
    temperature: f32 in from(0.0, 2.0),
        neutral 1.0, default 0.7, recommended as "temp", example 0.7;
    /// Draws only from the most likely tokens that together reach this probability. When not given: what the
    /// model's makers recommend, else 0.9.
    top_p: f32 in above(0.0, 1.0), neutral 1.0, default 0.9, recommended as "top_p", example 0.9;
    /// Draws only from this many most likely tokens; 0 and -1 mean all. When not given: what the model's makers
    /// recommend, else all.
    top_k: u32 in Range::Whole { least: 1, most: u32::MAX as u64, none: &[0, -1] },
        neutral 0, recommended as "top_k", example 20;
    /// Draws only from tokens with at least this share of the most likely token's probability.
    min_p: f32 in from(0.0, 1.0), neutral 0.0, recommended as "min_p", example 0.05;
    /// Makes tokens of the prompt and of the answer less likely: positive logits are divided by it, others
    /// multiplied. 1 changes nothing.
    repetition_penalty: f32 in above(0.0, 2.0),
        neutral 1.0, recommended as "penalty_repeat", example 1.1;
    /// Subtracted from the logits of tokens in the answer.
    presence_penalty: f32 in from(-2.0, 2.0), neutral 0.0, example 0.5;
    /// Subtracted from the logits of tokens in the answer, once per occurrence.
    frequency_penalty: f32 in from(-2.0, 2.0), neutral 0.0, example 0.5;
    /// The same seed and prompt give the same answer. Random when not given, or -1.
    seed: u64 in Range::Whole { least: 0, most: u64::MAX, none: &[-1] }, example 42;
}

#[cfg(test)]
mod tests;
