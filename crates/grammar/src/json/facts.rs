//! The constraints of one schema, keyword by keyword.

use llguidance::derivre::RegexAst;
use serde_json::Value;

use super::numbers::Numbers;

/// A set of JSON types; whole numbers and numbers with a fraction are separate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Types(u8);

impl Types {
    pub(super) const NONE: Self = Self(0);
    pub(super) const NULL: Self = Self(1);
    pub(super) const BOOLEAN: Self = Self(2);
    pub(super) const WHOLE: Self = Self(4);
    pub(super) const FRACTION: Self = Self(8);
    pub(super) const NUMBER: Self = Self(4 | 8);
    pub(super) const STRING: Self = Self(16);
    pub(super) const ARRAY: Self = Self(32);
    pub(super) const OBJECT: Self = Self(64);
    pub(super) const ALL: Self = Self(127);

    /// Returns the type with this name in schemas.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "null" => Self::NULL,
            "boolean" => Self::BOOLEAN,
            "integer" => Self::WHOLE,
            "number" => Self::NUMBER,
            "string" => Self::STRING,
            "array" => Self::ARRAY,
            "object" => Self::OBJECT,
            _ => return None,
        })
    }

    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// The index of a schema among all parsed schemas.
pub(super) type SchemaId = usize;

/// The constraints of one schema. Absent keywords allow everything.
#[derive(Debug, Clone)]
pub(super) struct Facts<'a> {
    pub(super) types: Types,
    /// `enum` and `const`: the value must be in each list.
    pub(super) values: Vec<&'a [Value]>,
    pub(super) numbers: Numbers,
    pub(super) texts: Texts,
    pub(super) items: Items,
    pub(super) members: Members,
    /// `$ref` and `allOf`: schemas that must hold too.
    pub(super) all: Vec<SchemaId>,
    /// `anyOf` and `oneOf`, each with its options.
    pub(super) choices: Vec<Choice>,
    /// In draft 4, `integer` means a number written without a point.
    pub(super) is_draft_4: bool,
}

impl Default for Facts<'_> {
    fn default() -> Self {
        Self {
            types: Types::ALL,
            values: Vec::new(),
            numbers: Numbers::default(),
            texts: Texts::default(),
            items: Items::default(),
            members: Members::default(),
            all: Vec::new(),
            choices: Vec::new(),
            is_draft_4: false,
        }
    }
}

/// Schemas of which one must hold.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    pub(super) options: Vec<SchemaId>,
    /// For `oneOf`, its place, since only one may hold.
    pub(super) exclusive: Option<String>,
}

/// Constraints on strings.
#[derive(Debug, Clone, Default)]
pub(super) struct Texts {
    pub(super) least: usize,
    pub(super) most: Option<usize>,
    /// Patterns and formats, by their names for messages.
    pub(super) forms: Vec<(String, RegexAst)>,
}

/// Constraints on the items of arrays.
#[derive(Debug, Clone, Default)]
pub(super) struct Items {
    pub(super) least: usize,
    pub(super) most: Option<usize>,
    pub(super) first: Vec<SchemaId>,
    pub(super) rest: Option<SchemaId>,
}

/// Constraints on the members of objects.
#[derive(Debug, Clone, Default)]
pub(super) struct Members {
    pub(super) named: Vec<(String, SchemaId)>,
    /// Members whose names match a pattern.
    pub(super) patterns: Vec<(String, SchemaId)>,
    /// Members that are neither named nor matched by a pattern.
    pub(super) others: Option<SchemaId>,
    pub(super) required: Vec<String>,
    pub(super) least: usize,
    pub(super) most: Option<usize>,
}
