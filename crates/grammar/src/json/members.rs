//! The members of objects: determines the kind of each name's value, for named members and others.

use std::rc::Rc;

use llguidance::derivre::RegexAst;

use super::Refusal;
use super::facts::{Facts, SchemaId};
use super::kinds::{KindId, Kinds, Object};
use super::regex::{
    AutomatonSize, anything, automaton_size, intersection, literal, not, one_of, regex,
};
use crate::limits::{MAX_EXPRESSION_STATES, MAX_NAME_CLASSES, MAX_PATTERNS};

/// Names that are classified by patterns. Excludes control characters and characters on which regex dialects
/// disagree: white space and line ends beyond ASCII.
const SORTED_NAMES: &str = r"[^\x00-\x1f\x7f\u{85}\u{2028}\u{2029}\u{feff}]*";

impl Kinds<'_> {
    /// Returns the members that all these schemas allow.
    pub(super) fn object(
        &mut self,
        facts: &[(SchemaId, Rc<Facts<'_>>)],
    ) -> Result<Object, Refusal> {
        let members = || facts.iter().map(|(_, facts)| &facts.members);
        let mut names: Vec<&String> = Vec::new();
        let properties = members().flat_map(|one| one.named.iter().map(|(name, _)| name));
        for name in properties.chain(members().flat_map(|one| &one.required)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let mut named = Vec::with_capacity(names.len());
        for name in &names {
            let mut places = Vec::new();
            for one in members() {
                let before = places.len();
                let property = one.named.iter().find(|(other, _)| other == *name);
                places.extend(property.map(|(_, place)| *place));
                for (pattern, place) in &one.patterns {
                    if self.pattern_matches(pattern, name, *place)? {
                        places.push(*place);
                    }
                }
                if places.len() == before {
                    places.extend(one.others);
                }
            }
            let is_required = members().any(|one| one.required.contains(name));
            named.push(((*name).clone(), self.of(places)?, is_required));
        }
        Ok(Object {
            least: members().map(|one| one.least).max().unwrap_or(0),
            most: members().filter_map(|one| one.most).min(),
            classes: self.classes(facts, &names)?,
            named,
        })
    }

    fn pattern_matches(&self, pattern: &str, name: &str, place: SchemaId) -> Result<bool, Refusal> {
        let expression = self.reader.pattern(pattern);
        let found = expression.and_then(|one| super::regex::matches(one, name));
        found.ok_or_else(|| {
            Refusal::at(self.reader.at(place), "its pattern is too expensive to compile")
        })
    }

    /// Partitions the names that are not `taken` by the patterns that they match, and returns the kind of the
    /// values of each class.
    fn classes(
        &mut self,
        facts: &[(SchemaId, Rc<Facts<'_>>)],
        taken: &[&String],
    ) -> Result<Vec<(RegexAst, KindId)>, Refusal> {
        let members = || facts.iter().map(|(_, facts)| &facts.members);
        let mut patterns: Vec<(&str, SchemaId)> = Vec::new();
        for (pattern, place) in members().flat_map(|one| &one.patterns) {
            if patterns.iter().all(|(known, _)| known != pattern) {
                patterns.push((pattern, *place));
            }
        }
        if let Some((_, place)) = patterns.get(MAX_PATTERNS) {
            let problem =
                format!("an object has more than {MAX_PATTERNS} different patternProperties");
            return Err(Refusal::at(self.reader.at(*place), problem));
        }
        let free = if patterns.is_empty() { anything() } else { regex(SORTED_NAMES) };
        let free = match taken {
            [] => vec![free],
            names => vec![free, not(one_of(names.iter().map(|name| literal(name))))],
        };
        // Each class: an expression for its names, and the patterns that they match.
        let mut classes = vec![(free, Vec::<&str>::new())];
        for (pattern, place) in &patterns {
            let Some(expression) = self.reader.pattern(pattern).cloned() else { continue };
            let mut finer = Vec::new();
            for (parts, found) in classes {
                let mut with = (parts.clone(), found.clone());
                with.0.push(expression.clone());
                with.1.push(pattern);
                let mut without = (parts, found);
                without.0.push(not(expression.clone()));
                for class in [with, without] {
                    match automaton_size(
                        &intersection(class.0.iter().cloned()),
                        MAX_EXPRESSION_STATES,
                    ) {
                        Ok(AutomatonSize::Empty) => {}
                        Ok(AutomatonSize::States(_)) => finer.push(class),
                        Ok(AutomatonSize::TooLarge) | Err(_) => {
                            let problem =
                                "it needs too many states to distinguish its names from others";
                            return Err(Refusal::at(self.reader.at(*place), problem));
                        }
                    }
                }
            }
            if finer.len() > MAX_NAME_CLASSES {
                let problem = format!(
                    "patternProperties overlap in more than {MAX_NAME_CLASSES} ways; make them exclude \
                     each other"
                );
                return Err(Refusal::at(self.reader.at(*place), problem));
            }
            classes = finer;
        }
        let mut kinds: Vec<(RegexAst, KindId)> = Vec::new();
        for (parts, found) in classes {
            let mut places = Vec::new();
            for one in members() {
                let matching = one.patterns.iter().filter(|(one, _)| found.contains(&one.as_str()));
                let before = places.len();
                places.extend(matching.map(|(_, place)| *place));
                if places.len() == before {
                    places.extend(one.others);
                }
            }
            let kind = self.of(places)?;
            let names = intersection(parts);
            // Merge classes whose values are of the same kind.
            match kinds.iter_mut().find(|(_, other)| *other == kind) {
                Some((others, _)) => {
                    let known = std::mem::replace(others, RegexAst::NoMatch);
                    *others = one_of([known, names]);
                }
                None => kinds.push((names, kind)),
            }
        }
        Ok(kinds)
    }
}
