//! Checks whether two alternatives are disjoint: `oneOf` is supported if they are.

use super::Refusal;
use super::facts::Types;
use super::inhabited::Inhabited;
use super::kinds::{Alternative, Array, KindId, Kinds, Object, Open, Shape};
use super::regex::{AutomatonSize, automaton_size, intersection};
use crate::limits::MAX_EXPRESSION_STATES;

/// The maximum depth within two values at which a difference is searched.
const DEPTH: usize = 6;

impl Kinds<'_> {
    /// Refuses a kind with a value that may match two options of a `oneOf`.
    pub(super) fn refuse_overlaps(
        &mut self,
        kind: KindId,
        inhabited: &Inhabited,
    ) -> Result<(), Refusal> {
        let alternatives = self.all[kind].alternatives.clone();
        match self.first_overlap(&alternatives, inhabited)? {
            None => Ok(()),
            Some((at, one, other)) => {
                let place = self.all[kind].places.last().copied().unwrap_or_default();
                let document = self.reader.at(place).document;
                let pointer = at.trim_start_matches(|char: char| char.is_ascii_digit()).to_owned();
                let problem = format!(
                    "a value may fit both option {one} and option {other}; make them exclude each other, or \
                     use anyOf"
                );
                Err(Refusal::new(document, pointer, problem))
            }
        }
    }

    fn first_overlap(
        &mut self,
        alternatives: &[Alternative<'_>],
        inhabited: &Inhabited,
    ) -> Result<Option<(String, usize, usize)>, Refusal> {
        for (index, one) in alternatives.iter().enumerate() {
            if one.exclusive.is_empty() || !inhabited.alternative(one) {
                continue;
            }
            for other in &alternatives[index + 1..] {
                let differ = one.exclusive.iter().find_map(|(at, option)| {
                    let same = other.exclusive.iter().find(|(other_at, _)| other_at == at)?;
                    (same.1 != *option).then(|| (at.to_string(), *option, same.1))
                });
                if let Some(differ) = differ
                    && inhabited.alternative(other)
                    && !self.are_disjoint(one, other, inhabited, DEPTH)?
                {
                    return Ok(Some(differ));
                }
            }
        }
        Ok(None)
    }

    /// Returns whether certainly no value belongs to both.
    fn are_disjoint(
        &mut self,
        one: &Alternative<'_>,
        other: &Alternative<'_>,
        inhabited: &Inhabited,
        depth: usize,
    ) -> Result<bool, Refusal> {
        match (&one.shape, &other.shape) {
            (Shape::Values(one), Shape::Values(other)) => {
                let is_in_other = |value| other.iter().any(|two| super::equal::equal(two, value));
                Ok(!one.iter().any(|value| is_in_other(value)))
            }
            (Shape::Values(values), Shape::Open(open))
            | (Shape::Open(open), Shape::Values(values)) => {
                for value in values {
                    if self.open_accepts(open, value)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Shape::Open(one), Shape::Open(other)) => {
                self.open_disjoint(one, other, inhabited, depth)
            }
        }
    }

    fn open_disjoint(
        &mut self,
        one: &Open,
        other: &Open,
        inhabited: &Inhabited,
        depth: usize,
    ) -> Result<bool, Refusal> {
        let both = one.types.and(other.types);
        if both.has(Types::NULL.or(Types::BOOLEAN)) {
            return Ok(false);
        }
        if both.has(Types::NUMBER) {
            let mut numbers = one.numbers.clone();
            numbers.meet(&other.numbers);
            let whole = !both.has(Types::FRACTION);
            let is_none = || {
                automaton_size(&numbers.expression(whole), MAX_EXPRESSION_STATES)
                    == Ok(AutomatonSize::Empty)
            };
            // For numbers without a fraction, the text determines the value.
            if !(numbers.is_empty() || whole && is_none()) {
                return Ok(false);
            }
        }
        if both.has(Types::STRING) {
            let texts = intersection([one.texts.expression(), other.texts.expression()]);
            if automaton_size(&texts, MAX_EXPRESSION_STATES) != Ok(AutomatonSize::Empty) {
                return Ok(false);
            }
        }
        Ok((!both.has(Types::ARRAY)
            || self.arrays_disjoint(&one.array, &other.array, inhabited, depth)?)
            && (!both.has(Types::OBJECT)
                || self.objects_disjoint(&one.object, &other.object, inhabited, depth)?))
    }

    fn arrays_disjoint(
        &mut self,
        one: &Array,
        other: &Array,
        inhabited: &Inhabited,
        depth: usize,
    ) -> Result<bool, Refusal> {
        let most = |array: &Array| inhabited.max_items(array).unwrap_or(usize::MAX);
        if most(one) < other.least || most(other) < one.least {
            return Ok(true);
        }
        let kind =
            |array: &Array, index: usize| array.first.get(index).copied().unwrap_or(array.rest);
        let both = one.first.len().max(other.first.len()) + 1;
        for index in 0..one.least.max(other.least).min(both) {
            if self.kinds_disjoint(kind(one, index), kind(other, index), inhabited, depth)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn objects_disjoint(
        &mut self,
        one: &Object,
        other: &Object,
        inhabited: &Inhabited,
        depth: usize,
    ) -> Result<bool, Refusal> {
        for (name, ..) in one.named.iter().chain(&other.named).filter(|(.., required)| *required) {
            let (left, right) = (member(one, name), member(other, name));
            let apart = match (left, right) {
                (Some(left), Some(right)) => self.kinds_disjoint(left, right, inhabited, depth)?,
                // One of them does not allow it.
                _ => true,
            };
            if apart {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn kinds_disjoint(
        &mut self,
        one: KindId,
        other: KindId,
        inhabited: &Inhabited,
        depth: usize,
    ) -> Result<bool, Refusal> {
        if !inhabited.has(one) || !inhabited.has(other) {
            return Ok(true);
        }
        if one == other || depth == 0 {
            return Ok(false);
        }
        let (left, right) =
            (self.all[one].alternatives.clone(), self.all[other].alternatives.clone());
        for (left, right) in
            left.iter().flat_map(|left| right.iter().map(move |right| (left, right)))
        {
            if !self.are_disjoint(left, right, inhabited, depth - 1)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Returns the kind of the member with this name, or `None` if it is not allowed.
fn member(object: &Object, name: &str) -> Option<KindId> {
    let named = object.named.iter().find(|(other, ..)| other == name).map(|(_, kind, _)| *kind);
    named.or_else(|| {
        let mut classes = object.classes.iter();
        let class = classes.find(|(names, _)| super::regex::matches(names, name) == Some(true));
        class.map(|(_, kind)| *kind)
    })
}
