//! What one schema says, keyword by keyword.

use llguidance::derivre::RegexAst;
use serde_json::Value;

use super::numbers::Numbers;

/// A set of types of JSON values, of whole numbers and of those with a fraction.
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

    /// A type by its name in a schema.
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

/// The number of a schema among all that were read.
pub(super) type PlaceId = usize;

/// What one schema says. Of what it says nothing it allows all.
#[derive(Debug, Clone)]
pub(super) struct Facts<'a> {
    pub(super) types: Types,
    /// `enum` and `const`: the value is one of each list.
    pub(super) values: Vec<&'a [Value]>,
    pub(super) numbers: Numbers,
    pub(super) texts: Texts,
    pub(super) items: Items,
    pub(super) members: Members,
    /// `$ref` and `allOf`: they hold as well.
    pub(super) all: Vec<PlaceId>,
    /// `anyOf` and `oneOf`, each with its options.
    pub(super) choices: Vec<Choice>,
    /// `integer` means a number that is written without a point.
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

/// Of which schemas one holds.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    pub(super) options: Vec<PlaceId>,
    /// `oneOf`: where it stands, for only one may hold.
    pub(super) exclusive: Option<String>,
}

/// What strings must be.
#[derive(Debug, Clone, Default)]
pub(super) struct Texts {
    pub(super) least: usize,
    pub(super) most: Option<usize>,
    /// Patterns and formats, by what they are called.
    pub(super) forms: Vec<(String, RegexAst)>,
}

/// What the items of arrays must be.
#[derive(Debug, Clone, Default)]
pub(super) struct Items {
    pub(super) least: usize,
    pub(super) most: Option<usize>,
    pub(super) first: Vec<PlaceId>,
    pub(super) rest: Option<PlaceId>,
}

/// What the members of objects must be.
#[derive(Debug, Clone, Default)]
pub(super) struct Members {
    pub(super) named: Vec<(String, PlaceId)>,
    /// By the pattern that their names match.
    pub(super) patterns: Vec<(String, PlaceId)>,
    /// Those that are neither.
    pub(super) others: Option<PlaceId>,
    pub(super) required: Vec<String>,
    pub(super) least: usize,
    pub(super) most: Option<usize>,
}
