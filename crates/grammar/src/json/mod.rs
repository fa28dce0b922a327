//! JSON that schemas describe.
//!
//! ```text
//! schema ─ Reader ─▶ Facts ─ Conjunctions ─▶ Kinds ─ Inhabited ─▶ Writer ─▶ rules of a grammar
//! ```
//!
//! - [`read`]: keywords, one schema at a time; [`facts`] holds them, [`references`] finds where a `$ref`
//!   leads, [`pointer`] says where something stands, [`pattern`] and [`formats`] read what strings must be
//! - [`conjunction`]: which schemas hold together
//! - [`kinds`]: what they make of a value and of what is within it ([`members`] of objects); finitely many
//! - [`accepts`]: whether a listed value is of a kind
//! - [`inhabited`]: which kinds have values
//! - [`apart`]: whether options of a `oneOf` exclude each other
//! - [`write`]: the rules
//! - [`numbers`], [`decimal`], [`regex`]: numbers to the last digit, and what automata cost
//!
//! Every answer of such a grammar is valid by the schema. Not every valid text is an answer: members
//! come in the schema's order, a number has no needless digits.

mod accepts;
mod apart;
mod conjunction;
mod equal;
mod decimal;
mod facts;
mod formats;
mod inhabited;
mod kinds;
mod members;
mod numbers;
mod pattern;
mod pointer;
mod read;
mod references;
pub(crate) mod regex;
mod write;

use serde_json::Value;

use crate::rules::{CanNot, Rules, Symbol};
use inhabited::Inhabited;
use kinds::Kinds;
use read::Place;
use write::Writer;

/// Between the parts of JSON: nothing, one space, or a new line and its indentation. More would be
/// valid JSON too, but a weak model fills an answer with it.
pub(crate) const WHITESPACE: &str = r"[ ]|\n[ ]{0,32}|\n\t{0,8}";

/// Why a schema can't be kept, and which part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Which of the schemas, by its number.
    pub(crate) document: usize,
    /// Where in it, as a JSON pointer.
    pub(crate) pointer: String,
    pub(crate) problem: String,
}

impl Refusal {
    fn new(document: usize, pointer: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { document, pointer: pointer.into(), problem: problem.into() }
    }

    fn at(place: &Place<'_>, problem: impl Into<String>) -> Self {
        Self::new(place.document, place.pointer.clone(), problem)
    }
}

/// Schemas that were read and can be kept, as far as one can tell without writing their rules.
pub(crate) struct Schemas<'a> {
    kinds: Kinds<'a>,
    inhabited: Inhabited,
    roots: Vec<kinds::KindId>,
}

impl<'a> Schemas<'a> {
    /// Reads schemas, each a document of its own.
    pub(crate) fn read(documents: &[&'a Value]) -> Result<Self, Refusal> {
        let mut kinds = Kinds::default();
        let mut roots = Vec::new();
        for document in documents {
            let root = kinds.reader.add(document)?;
            roots.push(kinds.of(vec![root])?);
        }
        kinds.expand()?;
        kinds.reader.read_rest()?;
        let inhabited = Inhabited::of(&kinds);
        if let Some(root) = roots.iter().find(|root| !inhabited.has(**root)) {
            return Err(inhabited.reason(*root, &kinds));
        }
        for kind in 0..kinds.all.len() {
            if inhabited.has(kind) {
                kinds.refuse_overlaps(kind, &inhabited)?;
            }
        }
        Ok(Self { kinds, inhabited, roots })
    }

    /// What is not kept, though it was asked for.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let unknown = &self.kinds.reader.unknown_formats;
        let warning = |(name, at): &(String, String)| {
            format!("the format '{name}' at {at} is not known: strings of it are not checked")
        };
        unknown.iter().map(warning).collect()
    }

    /// Writes the rules of the schemas; their roots.
    pub(crate) fn write(&self, rules: &mut Rules) -> Result<Vec<Symbol>, CanNot> {
        let mut writer = Writer::new(&self.kinds, &self.inhabited, rules);
        self.roots.iter().map(|root| writer.write(*root)).collect()
    }
}
