//! Checks whether a listed value (`enum`, `const`) belongs to a kind.

use serde_json::Value;

use super::Refusal;
use super::decimal::Decimal;
use super::facts::{Texts, Types};
use super::kinds::{Array, KindId, Kinds, Object, Open, in_all_lists};
use super::regex::matches;

impl Kinds<'_> {
    /// Returns whether a value belongs to a kind.
    fn accepts(&mut self, kind: KindId, value: &Value) -> Result<bool, Refusal> {
        for conjunction in self.conjunctions(kind)? {
            let (open, _) = self.open(&conjunction)?;
            let lists = self.lists(&conjunction)?;
            if in_all_lists(&lists, value) && self.open_accepts(&open, value)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn open_accepts(&mut self, open: &Open, value: &Value) -> Result<bool, Refusal> {
        let types = open.types;
        Ok(match value {
            Value::Null => types.has(Types::NULL),
            Value::Bool(_) => types.has(Types::BOOLEAN),
            Value::Number(number) => {
                let text = number.to_string();
                let Some(decimal) = Decimal::read(number) else { return Ok(false) };
                let is_whole =
                    decimal.is_whole() && !(open.is_draft_4 && text.contains(['.', 'e', 'E']));
                let kind = if is_whole { Types::WHOLE } else { Types::FRACTION };
                types.has(kind) && open.numbers.accepts(&decimal)
            }
            Value::String(text) => types.has(Types::STRING) && open.texts.accept(text),
            Value::Array(items) => {
                types.has(Types::ARRAY) && self.array_accepts(&open.array, items)?
            }
            Value::Object(map) => {
                types.has(Types::OBJECT) && self.object_accepts(&open.object, map)?
            }
        })
    }

    fn array_accepts(&mut self, array: &Array, items: &[Value]) -> Result<bool, Refusal> {
        let count = items.len();
        if count < array.least || array.most.is_some_and(|most| count > most) {
            return Ok(false);
        }
        for (index, item) in items.iter().enumerate() {
            let kind = array.first.get(index).copied().unwrap_or(array.rest);
            if !self.accepts(kind, item)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn object_accepts(
        &mut self,
        object: &Object,
        map: &serde_json::Map<String, Value>,
    ) -> Result<bool, Refusal> {
        let count = map.len();
        let misses = |(name, _, is_required): &(String, KindId, bool)| {
            *is_required && !map.contains_key(name)
        };
        if count < object.least
            || object.most.is_some_and(|most| count > most)
            || object.named.iter().any(misses)
        {
            return Ok(false);
        }
        for (key, value) in map {
            let named =
                object.named.iter().find(|(name, ..)| name == key).map(|(_, kind, _)| *kind);
            let class = || {
                let mut classes = object.classes.iter();
                let class = classes.find(|(names, _)| matches(names, key) == Some(true));
                class.map(|(_, kind)| *kind)
            };
            match named.or_else(class) {
                Some(kind) if self.accepts(kind, value)? => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }
}

impl Texts {
    fn accept(&self, text: &str) -> bool {
        let length = text.chars().count();
        length >= self.least
            && self.most.is_none_or(|most| length <= most)
            && self.forms.iter().all(|(_, form)| matches(form, text) == Some(true))
    }
}
