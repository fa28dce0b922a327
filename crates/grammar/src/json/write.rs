//! Converts kinds of values to the rules of a grammar.

use std::collections::HashMap;

use llguidance::derivre::RegexAst;
use serde_json::Value;

use super::facts::Types;
use super::inhabited::Inhabited;
use super::kinds::{Array, KindId, Kinds, Object, Open, Shape};
use super::regex::{AutomatonSize, automaton_size, literal, one_of, quoted, regex};
use crate::limits::{MAX_EXPRESSION_STATES, MAX_STATES};
use crate::rules::{GrammarError, Rules, Symbol};

/// The lexer states per character of a string of limited length: some for the bytes of UTF-8, some for
/// escapes.
const STATES_OF_CHARACTER: usize = 9;

/// Writes the rules of kinds, each kind once.
pub(super) struct Writer<'k, 'a> {
    kinds: &'k Kinds<'a>,
    inhabited: &'k Inhabited,
    rules: &'k mut Rules,
    symbols: HashMap<KindId, Symbol>,
    /// Kinds whose rules are not written yet.
    left: Vec<KindId>,
    /// The number of lexer states of all expressions so far.
    states: usize,
}

impl<'k, 'a> Writer<'k, 'a> {
    pub(super) fn new(
        kinds: &'k Kinds<'a>,
        inhabited: &'k Inhabited,
        rules: &'k mut Rules,
    ) -> Self {
        Self { kinds, inhabited, rules, symbols: HashMap::new(), left: Vec::new(), states: 0 }
    }

    /// Returns the symbol of a kind that has values, and writes the rules of all kinds it refers to.
    pub(super) fn write(&mut self, kind: KindId) -> Result<Symbol, GrammarError> {
        let symbol = self.symbol(kind);
        while let Some(kind) = self.left.pop() {
            self.kind(kind)?;
        }
        Ok(symbol)
    }

    /// Returns the symbol of a kind; its rules may be written later.
    fn symbol(&mut self, kind: KindId) -> Symbol {
        if let Some(symbol) = self.symbols.get(&kind) {
            return *symbol;
        }
        let symbol = self.rules.symbol();
        self.symbols.insert(kind, symbol);
        self.left.push(kind);
        symbol
    }

    fn kind(&mut self, kind: KindId) -> Result<(), GrammarError> {
        let symbol = self.symbol(kind);
        let mut scalars = Vec::new();
        let (kinds, inhabited) = (self.kinds, self.inhabited);
        for alternative in
            kinds.all[kind].alternatives.iter().filter(|one| inhabited.alternative(one))
        {
            match &alternative.shape {
                Shape::Values(values) => {
                    for value in values {
                        match value {
                            Value::Array(_) | Value::Object(_) => {
                                let parts = self.value(value)?;
                                self.rules.rule(symbol, parts)?;
                            }
                            scalar => scalars.push(self.scalar(scalar)?),
                        }
                    }
                }
                Shape::Open(open) => {
                    self.scalars(open, &mut scalars)?;
                    if open.types.has(Types::ARRAY) && inhabited.array(&open.array) {
                        let array = self.array(&open.array)?;
                        self.rules.rule(symbol, vec![array])?;
                    }
                    if open.types.has(Types::OBJECT) && inhabited.object(&open.object) {
                        let object = self.object(&open.object)?;
                        self.rules.rule(symbol, vec![object])?;
                    }
                }
            }
        }
        if !scalars.is_empty() {
            let lexeme = self.rules.lexeme(&one_of(scalars))?;
            self.rules.rule(symbol, vec![lexeme])?;
        }
        Ok(())
    }

    /// Returns an expression for a value that is neither an array nor an object.
    fn scalar(&mut self, value: &Value) -> Result<RegexAst, GrammarError> {
        Ok(match value {
            Value::String(text) => {
                self.pay(2 * text.len())?;
                quoted(literal(text))
            }
            other => literal(&other.to_string()),
        })
    }

    /// Returns the symbols for a value listed in a schema.
    fn value(&mut self, value: &Value) -> Result<Vec<Symbol>, GrammarError> {
        let mut parts = Vec::new();
        match value {
            Value::Array(items) => {
                parts.push(self.rules.text("[")?);
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        parts.push(self.rules.text(",")?);
                    }
                    parts.extend(self.value(item)?);
                }
                parts.push(self.rules.text("]")?);
            }
            Value::Object(map) => {
                parts.push(self.rules.text("{")?);
                for (index, (key, value)) in map.iter().enumerate() {
                    if index > 0 {
                        parts.push(self.rules.text(",")?);
                    }
                    parts.push(self.name(key)?);
                    parts.push(self.rules.text(":")?);
                    parts.extend(self.value(value)?);
                }
                parts.push(self.rules.text("}")?);
            }
            scalar => {
                let scalar = self.scalar(scalar)?;
                parts.push(self.rules.lexeme(&scalar)?);
            }
        }
        Ok(parts)
    }

    /// Returns the symbol for the name of a member, with a fixed spelling.
    fn name(&mut self, name: &str) -> Result<Symbol, GrammarError> {
        self.rules.text(&Value::from(name).to_string())
    }

    fn scalars(&mut self, open: &Open, into: &mut Vec<RegexAst>) -> Result<(), GrammarError> {
        let Open { types, numbers, texts, .. } = open;
        if types.has(Types::NULL) {
            into.push(literal("null"));
        }
        if types.has(Types::BOOLEAN) {
            into.push(regex("true|false"));
        }
        if types.has(Types::NUMBER) {
            let numbers = numbers.expression(!types.has(Types::FRACTION));
            self.charge_expression(&numbers)?;
            into.push(numbers);
        }
        if types.has(Types::STRING) {
            let quoted = quoted(texts.expression());
            match texts.forms.as_slice() {
                [] => self.pay(STATES_OF_CHARACTER * texts.most.unwrap_or(texts.least).max(1))?,
                _ => self.charge_expression(&quoted)?,
            }
            into.push(quoted);
        }
        Ok(())
    }

    fn charge_expression(&mut self, expression: &RegexAst) -> Result<(), GrammarError> {
        match automaton_size(expression, MAX_EXPRESSION_STATES).map_err(GrammarError)? {
            AutomatonSize::Empty => Ok(()),
            AutomatonSize::States(states) => self.pay(states),
            AutomatonSize::TooLarge => {
                Err(GrammarError("one of its values needs too many states".to_owned()))
            }
        }
    }

    fn pay(&mut self, states: usize) -> Result<(), GrammarError> {
        self.states += states;
        match self.states > MAX_STATES {
            true => Err(GrammarError("all of its values together need too many states".to_owned())),
            false => Ok(()),
        }
    }

    fn array(&mut self, array: &Array) -> Result<Symbol, GrammarError> {
        let most = self.inhabited.max_items(array);
        let comma = self.rules.text(",")?;
        let first = array.first.len().min(most.unwrap_or(usize::MAX));
        // From the last to the first: the rules for what may follow a number of items.
        let (least, left) = (array.least.saturating_sub(first), most.map(|most| most - first));
        let mut rest = None;
        if left != Some(0) {
            let item = self.symbol(array.rest);
            let more = self.rules.sequence(vec![comma, item])?;
            rest = Some(match first {
                // The first item has no comma before it.
                0 => {
                    let more = self.rules.repeat(
                        more,
                        least.saturating_sub(1),
                        left.map(|left| left - 1),
                    )?;
                    self.optional(vec![item, more], least == 0)?
                }
                _ => self.rules.repeat(more, least, left)?,
            });
        }
        for index in (0..first).rev() {
            let mut parts = Vec::new();
            if index > 0 {
                parts.push(comma);
            }
            parts.push(self.symbol(array.first[index]));
            parts.extend(rest);
            rest = Some(self.optional(parts, index >= array.least)?);
        }
        let brackets = (self.rules.text("[")?, self.rules.text("]")?);
        self.rules.sequence([brackets.0].into_iter().chain(rest).chain([brackets.1]).collect())
    }

    fn optional(&mut self, parts: Vec<Symbol>, is_optional: bool) -> Result<Symbol, GrammarError> {
        let symbol = self.rules.symbol();
        self.rules.rule(symbol, parts)?;
        if is_optional {
            self.rules.rule(symbol, vec![])?;
        }
        Ok(symbol)
    }

    fn object(&mut self, object: &Object) -> Result<Symbol, GrammarError> {
        let inhabited = self.inhabited;
        let colon = self.rules.text(":")?;
        let mut named = Vec::new();
        for (name, kind, is_required) in
            object.named.iter().filter(|(_, kind, _)| inhabited.has(*kind))
        {
            let parts = vec![self.name(name)?, colon, self.symbol(*kind)];
            named.push((self.rules.sequence(parts)?, *is_required));
        }
        let mut others = Vec::new();
        for (names, kind) in object.classes.iter().filter(|(_, kind)| inhabited.has(*kind)) {
            let names = quoted(names.clone());
            self.charge_expression(&names)?;
            let parts = vec![self.rules.lexeme(&names)?, colon, self.symbol(*kind)];
            others.push(self.rules.sequence(parts)?);
        }
        let others = match others.is_empty() {
            true => None,
            false => Some(self.rules.one_of(others)?),
        };
        let comma = self.rules.text(",")?;
        let bounds = (object.least, object.most);
        let members = ObjectMembers { named: &named, others, bounds, comma }.write(self.rules)?;
        let braces = (self.rules.text("{")?, self.rules.text("}")?);
        self.rules.sequence([braces.0].into_iter().chain(members).chain([braces.1]).collect())
    }
}

/// The members of an object: named ones in their order, then others.
struct ObjectMembers<'c> {
    named: &'c [(Symbol, bool)],
    others: Option<Symbol>,
    bounds: (usize, Option<usize>),
    comma: Symbol,
}

impl ObjectMembers<'_> {
    /// Returns the symbol for the content of the braces, or `None` if the bounds can't be satisfied.
    fn write(&self, rules: &mut Rules) -> Result<Option<Symbol>, GrammarError> {
        let count = self.named.len();
        // The rules for what may follow a number of members, from after the last named one to before the
        // first.
        let mut following: HashMap<usize, Symbol> = HashMap::new();
        for written in self.written(count) {
            let rows = self.end(written, rules)?;
            following.extend(symbol_of(rows, rules)?.map(|symbol| (written, symbol)));
        }
        for index in (0..count).rev() {
            let (member, is_required) = self.named[index];
            let mut here = HashMap::new();
            for written in self.written(index) {
                let mut rows = Vec::new();
                if let Some(rest) =
                    self.count_after_next(written).and_then(|more| following.get(&more))
                {
                    rows.push(self.after(written, vec![member, *rest]));
                }
                if !is_required {
                    rows.extend(following.get(&written).map(|rest| vec![*rest]));
                }
                here.extend(symbol_of(rows, rules)?.map(|symbol| (written, symbol)));
            }
            following = here;
        }
        Ok(following.get(&0).copied())
    }

    /// Returns the possible numbers of members before a named one. Above the bounds only zero and more than
    /// zero differ.
    fn written(&self, index: usize) -> std::ops::RangeInclusive<usize> {
        let required = self.named[..index].iter().filter(|(_, is_required)| *is_required).count();
        let (least, most) = self.bounds;
        match most {
            Some(most) => required..=index.min(most),
            None => required.min(least.max(1))..=index.min(least.max(1)),
        }
    }

    fn count_after_next(&self, written: usize) -> Option<usize> {
        let (least, most) = self.bounds;
        match most {
            Some(most) => (written < most).then_some(written + 1),
            None => Some((written + 1).min(least.max(1))),
        }
    }

    /// Returns what may follow the last named member.
    fn end(&self, written: usize, rules: &mut Rules) -> Result<Vec<Vec<Symbol>>, GrammarError> {
        let (least, most) = self.bounds;
        let mut rows = Vec::new();
        if written >= least {
            rows.push(Vec::new());
        }
        let left = most.map(|most| most - written);
        // Count only one other member, since two might have the same name.
        if let Some(other) = self.others.filter(|_| written + 1 >= least && left != Some(0)) {
            let more = rules.sequence(vec![self.comma, other])?;
            let more = rules.repeat(more, 0, left.map(|left| left - 1))?;
            rows.push(self.after(written, vec![other, more]));
        }
        Ok(rows)
    }

    fn after(&self, written: usize, member: Vec<Symbol>) -> Vec<Symbol> {
        if written == 0 { member } else { [self.comma].into_iter().chain(member).collect() }
    }
}

/// Returns a symbol for any of these rows, or `None` if there are none.
fn symbol_of(rows: Vec<Vec<Symbol>>, rules: &mut Rules) -> Result<Option<Symbol>, GrammarError> {
    if rows.is_empty() {
        return Ok(None);
    }
    let symbol = rules.symbol();
    for row in rows {
        rules.rule(symbol, row)?;
    }
    Ok(Some(symbol))
}
