//! Determines which kinds have values: some require inner values that do not exist, or require themselves.

use super::Refusal;
use super::facts::Types;
use super::kinds::{Alternative, Array, KindId, Kinds, Object, Shape};

/// Records for each kind, and each of its alternatives, whether it has values.
#[derive(Debug)]
pub(super) struct Inhabited {
    kinds: Vec<bool>,
}

impl Inhabited {
    /// Computes a fixed point, starting at kinds whose values contain no others.
    pub(super) fn of(kinds: &Kinds<'_>) -> Self {
        let mut found = Self { kinds: vec![false; kinds.all.len()] };
        loop {
            let mut is_settled = true;
            for (id, kind) in kinds.all.iter().enumerate() {
                if !found.kinds[id] && kind.alternatives.iter().any(|one| found.alternative(one)) {
                    found.kinds[id] = true;
                    is_settled = false;
                }
            }
            if is_settled {
                return found;
            }
        }
    }

    pub(super) fn has(&self, kind: KindId) -> bool {
        self.kinds[kind]
    }

    pub(super) fn alternative(&self, alternative: &Alternative<'_>) -> bool {
        match &alternative.shape {
            Shape::Values(_) => true,
            Shape::Open(open) => {
                let scalars = open.types.without(Types::ARRAY.or(Types::OBJECT));
                scalars != Types::NONE
                    || (open.types.has(Types::ARRAY) && self.array(&open.array))
                    || (open.types.has(Types::OBJECT) && self.object(&open.object))
            }
        }
    }

    /// Returns whether such arrays exist.
    pub(super) fn array(&self, array: &Array) -> bool {
        array.least <= self.max_items(array).unwrap_or(usize::MAX)
    }

    /// Returns the maximum number of items of such an array for which values exist.
    pub(super) fn max_items(&self, array: &Array) -> Option<usize> {
        let first = array.first.iter().position(|kind| !self.has(*kind));
        let rest = (!self.has(array.rest)).then_some(array.first.len());
        [array.most, first, rest].into_iter().flatten().min()
    }

    /// Returns whether such objects exist.
    pub(super) fn object(&self, object: &Object) -> bool {
        let required = object.named.iter().filter(|(.., is_required)| *is_required);
        let can_be = object.named.iter().filter(|(_, kind, _)| self.has(*kind)).count();
        // Count only one other name, since two might be the same.
        let other = usize::from(object.classes.iter().any(|(_, kind)| self.has(*kind)));
        required.clone().all(|(_, kind, _)| self.has(*kind))
            && object.least <= can_be + other
            && object.most.is_none_or(|most| most >= object.least.max(required.count()))
    }

    /// Returns why a kind has no values.
    pub(super) fn reason(&self, kind: KindId, kinds: &Kinds<'_>) -> Refusal {
        let (mut kind, mut seen) = (kind, Vec::new());
        loop {
            seen.push(kind);
            let here = &kinds.all[kind];
            let place = here.places.last().copied().unwrap_or_default();
            let place = kinds.reader.at(place);
            let Some(alternative) = here.alternatives.first() else {
                let nothing = || Refusal::at(place, "no value is allowed here");
                return here.missing.clone().unwrap_or_else(nothing);
            };
            let Shape::Open(open) = &alternative.shape else {
                return Refusal::at(place, "no value is allowed here");
            };
            let object = open.types.has(Types::OBJECT);
            let within = match object {
                true => self.missing_member(&open.object),
                false => open
                    .array
                    .first
                    .iter()
                    .chain([&open.array.rest])
                    .copied()
                    .find(|one| !self.has(*one)),
            };
            match within {
                Some(next) if !seen.contains(&next) => kind = next,
                Some(_) => {
                    return Refusal::at(
                        place,
                        "every value must contain another of its kind, so none is finite",
                    );
                }
                None if object => return Refusal::at(place, object_problem(&open.object)),
                None => return Refusal::at(place, "minItems is more than maxItems"),
            }
        }
    }

    fn missing_member(&self, object: &Object) -> Option<KindId> {
        let mut required = object.named.iter().filter(|(.., is_required)| *is_required);
        required.find(|(_, kind, _)| !self.has(*kind)).map(|(_, kind, _)| *kind)
    }
}

fn object_problem(object: &Object) -> String {
    let required = object.named.iter().filter(|(.., is_required)| *is_required).count();
    match object.most {
        Some(most) if most < object.least.max(required) => {
            format!("maxProperties is {most}, less than minProperties or than what is required")
        }
        _ => format!(
            "minProperties is {}, more than there are properties with a name and one other: others might \
             be the same one twice",
            object.least
        ),
    }
}
