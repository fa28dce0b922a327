//! Grammars for JSON that matches schemas.
//!
//! ```text
//! schema ─ Reader ─▶ Facts ─ Conjunctions ─▶ Kinds ─ Inhabited ─▶ Writer ─▶ rules of a grammar
//! ```
//!
//! - [`read`]: parses keywords, one schema at a time, into [`facts`]; [`references`] resolves `$ref`s,
//!   [`pointer`] names places, [`pattern`] and [`formats`] translate constraints on strings
//! - [`conjunction`]: determines which schemas apply together
//! - [`kinds`]: combines them to constraints on a value and its parts ([`members`] of objects); finitely many
//! - [`accepts`]: checks whether a listed value belongs to a kind
//! - [`inhabited`]: determines which kinds have values
//! - [`apart`]: checks whether options of a `oneOf` are disjoint
//! - [`write`]: writes the rules
//! - [`numbers`], [`decimal`], [`regex`]: exact numbers, and the cost of automata
//!
//! Every text of such a grammar is valid by the schema. Not every valid text can be generated: members
//! come in the schema's order, and numbers have no redundant digits.

mod accepts;
mod apart;
mod conjunction;
mod decimal;
mod equal;
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

use crate::rules::{GrammarError, Rules, Symbol};
use inhabited::Inhabited;
use kinds::Kinds;
use read::Place;
use write::Writer;

/// White space between JSON tokens: none, one space, or a new line and its indentation. More would be
/// valid JSON too, but a weak model may fill an answer with it.
pub(crate) const WHITESPACE: &str = r"[ ]|\n[ ]{0,32}|\n\t{0,8}";

/// The reason why a schema is not supported, and the place of the problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The index of the schema document.
    pub(crate) document: usize,
    /// The place in the document, as a JSON pointer.
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

/// Parsed schemas that are supported, as far as that can be determined without writing rules.
pub(crate) struct Schemas<'a> {
    kinds: Kinds<'a>,
    inhabited: Inhabited,
    roots: Vec<kinds::KindId>,
}

impl<'a> Schemas<'a> {
    /// Parses schemas, each as a separate document.
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

    /// Returns warnings about parts of the schemas that are not enforced.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let unknown = &self.kinds.reader.unknown_formats;
        let warning = |(name, at): &(String, String)| {
            format!("the format '{name}' at {at} is not known: strings of it are not checked")
        };
        unknown.iter().map(warning).collect()
    }

    /// Writes the rules of the schemas; returns their roots.
    pub(crate) fn write(&self, rules: &mut Rules) -> Result<Vec<Symbol>, GrammarError> {
        let mut writer = Writer::new(&self.kinds, &self.inhabited, rules);
        self.roots.iter().map(|root| writer.write(*root)).collect()
    }
}
