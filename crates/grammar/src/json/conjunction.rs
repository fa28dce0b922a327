//! Determines which schemas apply together: `$ref` and `allOf` add schemas, `anyOf` and `oneOf` choose.

use std::collections::HashMap;
use std::rc::Rc;

use super::Refusal;
use super::facts::{SchemaId, Types};
use super::read::Reader;
use crate::limits::{MAX_ALTERNATIVES, MAX_DEPTH};

/// A set of schemas that apply to the same value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Conjunction {
    /// The schemas, in ascending order.
    pub(super) places: Vec<SchemaId>,
    /// The types that they allow; not empty.
    pub(super) types: Types,
    /// The chosen option of each `oneOf`, by its place.
    pub(super) exclusive: Vec<(Rc<str>, usize)>,
}

impl Conjunction {
    /// Returns the conjunction without schemas, which all values satisfy.
    pub(super) fn free() -> Self {
        Self { places: Vec::new(), types: Types::ALL, exclusive: Vec::new() }
    }

    /// Returns the conjunction of both, or `None` if it is unsatisfiable.
    fn and(&self, other: &Self) -> Option<Self> {
        let types = self.types.and(other.types);
        // A value can't match two options of the same `oneOf`.
        let differs = |(at, option): &(Rc<str>, usize)| {
            other.exclusive.iter().any(|(other_at, other)| at == other_at && option != other)
        };
        if types == Types::NONE || self.exclusive.iter().any(differs) {
            return None;
        }
        let mut places = self.places.clone();
        places.extend(&other.places);
        places.sort_unstable();
        places.dedup();
        let mut exclusive = self.exclusive.clone();
        exclusive
            .extend(other.exclusive.iter().filter(|one| !self.exclusive.contains(one)).cloned());
        Some(Self { places, types, exclusive })
    }
}

/// The conjunctions that each place allows, computed lazily.
#[derive(Debug, Default)]
pub(super) struct Conjunctions {
    /// `None` while they are being computed.
    known: HashMap<SchemaId, Option<Rc<Vec<Conjunction>>>>,
    /// The current depth of the recursive computation.
    depth: usize,
}

impl Conjunctions {
    /// Returns the conjunctions of which one must hold if all these places must.
    pub(super) fn of(
        &mut self,
        places: &[SchemaId],
        reader: &mut Reader<'_>,
    ) -> Result<Vec<Conjunction>, Refusal> {
        let mut all = vec![Conjunction::free()];
        for place in places {
            let one = self.of_one(*place, reader)?;
            all = product(&all, &one, *place, reader)?;
        }
        Ok(all)
    }

    fn of_one(
        &mut self,
        place: SchemaId,
        reader: &mut Reader<'_>,
    ) -> Result<Rc<Vec<Conjunction>>, Refusal> {
        match self.known.get(&place) {
            Some(Some(known)) => return Ok(known.clone()),
            Some(None) => {
                let problem = "a reference leads back here without a constraint in between";
                return Err(Refusal::at(reader.at(place), problem));
            }
            None => {}
        }
        if self.depth == MAX_DEPTH {
            let problem = format!("a chain of more than {MAX_DEPTH} references begins here");
            return Err(Refusal::at(reader.at(place), problem));
        }
        self.known.insert(place, None);
        self.depth += 1;
        let facts = reader.facts(place)?;
        let own = Conjunction { places: vec![place], types: facts.types, exclusive: Vec::new() };
        let mut all = if facts.types == Types::NONE { Vec::new() } else { vec![own] };
        for other in &facts.all {
            let other = self.of_one(*other, reader)?;
            all = product(&all, &other, place, reader)?;
        }
        for choice in &facts.choices {
            let mut options = Vec::new();
            let document = reader.at(place).document;
            let exclusive = choice.exclusive.as_deref().map(|at| format!("{document}{at}"));
            let exclusive: Option<Rc<str>> = exclusive.map(Rc::from);
            for (index, option) in choice.options.iter().enumerate() {
                for option in self.of_one(*option, reader)?.iter() {
                    let mut option = option.clone();
                    option.exclusive.extend(exclusive.clone().map(|at| (at, index)));
                    options.push(option);
                }
            }
            all = product(&all, &options, place, reader)?;
        }
        self.depth -= 1;
        let all = Rc::new(all);
        self.known.insert(place, Some(all.clone()));
        Ok(all)
    }
}

fn product(
    left: &[Conjunction],
    right: &[Conjunction],
    place: SchemaId,
    reader: &Reader<'_>,
) -> Result<Vec<Conjunction>, Refusal> {
    let mut all: Vec<Conjunction> = Vec::new();
    for one in left {
        for both in right.iter().filter_map(|other| one.and(other)) {
            if !all.contains(&both) {
                all.push(both);
            }
            if all.len() > MAX_ALTERNATIVES {
                let problem = format!("it has more than {MAX_ALTERNATIVES} alternatives");
                return Err(Refusal::at(reader.at(place), problem));
            }
        }
    }
    Ok(all)
}
