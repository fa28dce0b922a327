//! Kinds of values: the combined constraints of schemas on a value and on the values within it.
//!
//! A kind is identified by the set of schemas that apply to it, so recursive schemas yield finitely many
//! kinds. A kind is the union of its alternatives, each of which is free of references and choices.

use std::collections::HashMap;
use std::rc::Rc;

use llguidance::derivre::RegexAst;
use serde_json::Value;

use super::Refusal;
use super::conjunction::{Conjunction, Conjunctions};
use super::equal::equal;
use super::facts::{Facts, Items, SchemaId, Texts, Types};
use super::numbers::Numbers;
use super::read::Reader;
use super::regex::{AutomatonSize, anything, automaton_size, intersection, regex};
use crate::limits::{MAX_EXPRESSION_STATES, MAX_KINDS};

/// The index of a kind.
pub(super) type KindId = usize;

/// A kind of values.
#[derive(Debug)]
pub(super) struct Kind<'a> {
    /// The schemas that apply to it.
    pub(super) places: Vec<SchemaId>,
    pub(super) alternatives: Rc<Vec<Alternative<'a>>>,
    /// The reason why it has no values, or fewer than its schemas suggest.
    pub(super) missing: Option<Refusal>,
}

/// One alternative of a kind.
#[derive(Debug)]
pub(super) struct Alternative<'a> {
    pub(super) exclusive: Vec<(Rc<str>, usize)>,
    pub(super) shape: Shape<'a>,
}

#[derive(Debug)]
pub(super) enum Shape<'a> {
    /// These values, all of which are allowed.
    Values(Vec<&'a Value>),
    Open(Rc<Open>),
}

/// Values of certain types.
#[derive(Debug)]
pub(super) struct Open {
    /// The types; those known to have no values are excluded.
    pub(super) types: Types,
    pub(super) is_draft_4: bool,
    pub(super) numbers: Numbers,
    pub(super) texts: Texts,
    pub(super) array: Array,
    pub(super) object: Object,
}

/// The constraints on the items of an array.
#[derive(Debug, Default)]
pub(super) struct Array {
    pub(super) least: usize,
    pub(super) most: Option<usize>,
    pub(super) first: Vec<KindId>,
    pub(super) rest: KindId,
}

/// The constraints on the members of an object.
#[derive(Debug, Default)]
pub(super) struct Object {
    pub(super) least: usize,
    pub(super) most: Option<usize>,
    /// Named members, in the order in which they are written, and whether each is required.
    pub(super) named: Vec<(String, KindId, bool)>,
    /// Disjoint classes of all other names.
    pub(super) classes: Vec<(RegexAst, KindId)>,
}

/// All kinds reachable from some schemas.
#[derive(Debug, Default)]
pub(super) struct Kinds<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) all: Vec<Kind<'a>>,
    known: HashMap<Vec<SchemaId>, KindId>,
    conjunctions: Conjunctions,
    /// The values that conjunctions allow apart from listed ones, by their places, and why there are not
    /// more.
    opens: HashMap<Vec<SchemaId>, (Rc<Open>, Option<Refusal>)>,
    extents: HashMap<String, AutomatonSize>,
    /// The number of kinds whose alternatives are computed.
    expanded: usize,
}

impl<'a> Kinds<'a> {
    /// Returns the kind to which these schemas apply.
    pub(super) fn of(&mut self, mut places: Vec<SchemaId>) -> Result<KindId, Refusal> {
        places.sort_unstable();
        places.dedup();
        if let Some(kind) = self.known.get(&places) {
            return Ok(*kind);
        }
        if let Some(place) = places.last()
            && self.all.len() >= MAX_KINDS
        {
            let problem = format!("it has more than {MAX_KINDS} different combinations of schemas");
            return Err(Refusal::at(self.reader.at(*place), problem));
        }
        self.known.insert(places.clone(), self.all.len());
        self.all.push(Kind { places, alternatives: Rc::default(), missing: None });
        Ok(self.all.len() - 1)
    }

    /// Computes the alternatives of all kinds, and the kinds that those refer to.
    pub(super) fn expand(&mut self) -> Result<(), Refusal> {
        while self.expanded < self.all.len() {
            let places = self.all[self.expanded].places.clone();
            let conjunctions = self.conjunctions.of(&places, &mut self.reader)?;
            let (mut alternatives, mut missing) = (Vec::new(), None);
            if let Some(place) = places.last().filter(|_| conjunctions.is_empty()) {
                let problem = "no value has a type that is allowed here";
                missing = Some(Refusal::at(self.reader.at(*place), problem));
            }
            for conjunction in conjunctions {
                match self.alternative(conjunction)? {
                    Ok(alternative) => alternatives.push(alternative),
                    Err(reason) => missing = missing.or(Some(reason)),
                }
            }
            let kind = &mut self.all[self.expanded];
            (kind.alternatives, kind.missing) = (Rc::new(alternatives), missing);
            self.expanded += 1;
        }
        Ok(())
    }

    /// Returns the alternative of a conjunction; the inner error is the reason why it is empty.
    fn alternative(
        &mut self,
        conjunction: Conjunction,
    ) -> Result<Result<Alternative<'a>, Refusal>, Refusal> {
        let (open, missing) = self.open(&conjunction)?;
        let lists = self.lists(&conjunction)?;
        let place = lists.first().map(|(place, _)| *place).or(conjunction.places.last().copied());
        let nothing = |kinds: &Self, problem: &str| {
            let refusal = || Refusal::at(kinds.reader.at(place.unwrap_or_default()), problem);
            Ok(Err(missing.unwrap_or_else(refusal)))
        };
        let exclusive = conjunction.exclusive;
        let Some(((_, values), others)) = lists.split_first() else {
            return match open.types {
                Types::NONE => nothing(self, "no value satisfies all keywords here"),
                _ => Ok(Ok(Alternative { exclusive, shape: Shape::Open(open) })),
            };
        };
        let mut fitting: Vec<&'a Value> = Vec::new();
        for value in *values {
            if in_all_lists(others, value) && self.open_accepts(&open, value)? {
                fitting.push(value);
            }
        }
        match fitting.as_slice() {
            [] => nothing(self, "no value of the enum or const satisfies the other keywords"),
            _ => Ok(Ok(Alternative { exclusive, shape: Shape::Values(fitting) })),
        }
    }

    /// Returns the values that a conjunction lists, with the places of the lists.
    pub(super) fn lists(
        &mut self,
        conjunction: &Conjunction,
    ) -> Result<Vec<(SchemaId, &'a [Value])>, Refusal> {
        let mut lists = Vec::new();
        for place in &conjunction.places {
            let facts = self.reader.facts(*place)?;
            lists.extend(facts.values.iter().map(|values| (*place, *values)));
        }
        Ok(lists)
    }

    pub(super) fn conjunctions(&mut self, kind: KindId) -> Result<Vec<Conjunction>, Refusal> {
        self.conjunctions.of(&self.all[kind].places, &mut self.reader)
    }

    /// Returns the values that a conjunction allows apart from listed ones, and why some are missing.
    pub(super) fn open(
        &mut self,
        conjunction: &Conjunction,
    ) -> Result<(Rc<Open>, Option<Refusal>), Refusal> {
        if let Some(known) = self.opens.get(&conjunction.places) {
            return Ok(known.clone());
        }
        let read = |place: &SchemaId| Ok((*place, self.reader.facts(*place)?));
        let facts = conjunction.places.iter().map(read).collect::<Result<Vec<_>, Refusal>>()?;
        let (mut types, mut missing) = (conjunction.types, None);
        let (mut numbers, mut texts) = (Numbers::default(), Texts::default());
        for (_, one) in &facts {
            numbers.meet(&one.numbers);
            texts.meet(&one.texts);
        }
        if types.has(Types::NUMBER) {
            let whole = !types.has(Types::FRACTION);
            let key = format!("{whole} {numbers:?}");
            let says = |one: &Facts<'_>| one.numbers.has_constraints();
            let what = ("number", "minimum, maximum and multipleOf");
            let reason = self.examine(key, numbers.examined(whole), &facts, says, what)?;
            types = if reason.is_some() { types.without(Types::NUMBER) } else { types };
            missing = missing.or(reason);
        }
        if types.has(Types::STRING) {
            let says = |one: &Facts<'_>| one.texts.has_constraints();
            let what = ("string", "minLength, maxLength, pattern and format");
            let reason = self.examine(texts.key(), texts.examined(), &facts, says, what)?;
            types = if reason.is_some() { types.without(Types::STRING) } else { types };
            missing = missing.or(reason);
        }
        let (mut array, mut object) = (Array::default(), Object::default());
        if types.has(Types::ARRAY) {
            array = self.array(facts.iter().map(|(_, facts)| &facts.items))?;
        }
        if types.has(Types::OBJECT) {
            object = self.object(&facts)?;
        }
        let is_draft_4 = facts.iter().any(|(_, facts)| facts.is_draft_4);
        let open = Rc::new(Open { types, is_draft_4, numbers, texts, array, object });
        self.opens.insert(conjunction.places.clone(), (open.clone(), missing.clone()));
        Ok((open, missing))
    }

    /// Examines the constraints on numbers or strings, and returns the reason if they are unsatisfiable. The
    /// reported place is the first whose schema `says` something about them.
    fn examine(
        &mut self,
        key: String,
        expression: Option<RegexAst>,
        facts: &[(SchemaId, Rc<Facts<'a>>)],
        says: impl Fn(&Facts<'_>) -> bool,
        (what, keywords): (&str, &str),
    ) -> Result<Option<Refusal>, Refusal> {
        let Some(expression) = expression else { return Ok(None) };
        let found = match self.extents.get(&key) {
            Some(known) => *known,
            None => automaton_size(&expression, MAX_EXPRESSION_STATES)
                .unwrap_or(AutomatonSize::TooLarge),
        };
        self.extents.insert(key, found);
        let place = facts.iter().find(|(_, facts)| says(facts)).map_or(0, |(place, _)| *place);
        let refusal = |problem| Refusal::at(self.reader.at(place), problem);
        match found {
            AutomatonSize::States(_) => Ok(None),
            AutomatonSize::Empty => Ok(Some(refusal(format!("no {what} fits {keywords}")))),
            AutomatonSize::TooLarge => Err(refusal(format!(
                "a {what} with these keywords needs too many states: make {keywords} simpler"
            ))),
        }
    }

    fn array<'f>(&mut self, facts: impl Iterator<Item = &'f Items>) -> Result<Array, Refusal> {
        let facts: Vec<&Items> = facts.collect();
        let count = facts.iter().map(|items| items.first.len()).max().unwrap_or(0);
        let at = |index: usize| {
            facts.iter().filter_map(move |items| items.first.get(index).copied().or(items.rest))
        };
        let first: Result<Vec<KindId>, Refusal> =
            (0..count).map(|index| self.of(at(index).collect())).collect();
        Ok(Array {
            least: facts.iter().map(|items| items.least).max().unwrap_or(0),
            most: facts.iter().filter_map(|items| items.most).min(),
            first: first?,
            rest: self.of(at(count).collect())?,
        })
    }
}

/// Returns whether a value is in all lists.
pub(super) fn in_all_lists(lists: &[(SchemaId, &[Value])], value: &Value) -> bool {
    lists.iter().all(|(_, list)| list.iter().any(|one| equal(one, value)))
}

impl Numbers {
    fn has_constraints(&self) -> bool {
        self.low.is_some() || self.high.is_some() || !self.multiples.is_empty()
    }

    /// Returns an expression that is empty if there are no such numbers; `None` if there surely are some.
    fn examined(&self, whole: bool) -> Option<RegexAst> {
        if self.is_empty() {
            return Some(RegexAst::NoMatch);
        }
        self.has_constraints().then(|| self.expression(whole))
    }
}

impl Texts {
    fn meet(&mut self, other: &Self) {
        self.least = self.least.max(other.least);
        self.most = [self.most, other.most].into_iter().flatten().min();
        for form in &other.forms {
            if self.forms.iter().all(|(name, _)| *name != form.0) {
                self.forms.push(form.clone());
            }
        }
    }

    fn has_constraints(&self) -> bool {
        self.least > 0 || self.most.is_some() || !self.forms.is_empty()
    }

    fn key(&self) -> String {
        let names: Vec<&str> = self.forms.iter().map(|(name, _)| name.as_str()).collect();
        format!("{} {:?} {names:?}", self.least, self.most)
    }

    /// Returns an expression that is empty if there are no such texts; `None` if there surely are some.
    fn examined(&self) -> Option<RegexAst> {
        if self.most.is_some_and(|most| most < self.least) {
            return Some(RegexAst::NoMatch);
        }
        (!self.forms.is_empty()).then(|| super::regex::quoted(self.expression()))
    }

    /// Returns an expression for these texts, without quotes.
    pub(super) fn expression(&self) -> RegexAst {
        let mut all: Vec<RegexAst> = self.forms.iter().map(|(_, form)| form.clone()).collect();
        if self.least > 0 || self.most.is_some() {
            let most = self.most.map_or(String::new(), |most| most.to_string());
            all.push(regex(&format!("(?s:.{{{},{most}}})", self.least)));
        }
        if all.is_empty() { anything() } else { intersection(all) }
    }
}
