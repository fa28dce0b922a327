//! Parses schemas. Refuses unsupported keywords and invalid values.

use std::collections::HashMap;
use std::rc::Rc;

use llguidance::derivre::RegexAst;
use serde_json::{Map, Value};

use super::Refusal;
use super::decimal::{Decimal, MAX_DIGITS};
use super::facts::{Choice, Facts, SchemaId, Types};
use super::references::Document;
use super::{formats, numbers, pattern, pointer};
use crate::limits::{MAX_LENGTH, MAX_SCHEMAS};

/// JSON Schema keywords that are not supported. Keywords unknown to JSON Schema are ignored.
const UNSUPPORTED_KEYWORDS: [&str; 16] = [
    "$dynamicRef",
    "$recursiveRef",
    "contains",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "if",
    "maxContains",
    "minContains",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
];

/// A parsed schema and its place.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) document: usize,
    pub(super) pointer: String,
    schema: &'a Value,
    facts: Option<Rc<Facts<'a>>>,
}

/// Parses the schemas of documents lazily.
#[derive(Debug, Default)]
pub(super) struct Reader<'a> {
    documents: Vec<Document<'a>>,
    places: Vec<Place<'a>>,
    known: HashMap<(usize, String), SchemaId>,
    patterns: HashMap<String, RegexAst>,
    /// Unknown formats, with the first place of each.
    pub(super) unknown_formats: Vec<(String, String)>,
}

impl<'a> Reader<'a> {
    /// Adds a document; returns its root.
    pub(super) fn add(&mut self, root: &'a Value) -> Result<SchemaId, Refusal> {
        self.documents.push(Document::new(root));
        self.place(self.documents.len() - 1, String::new(), root)
    }

    pub(super) fn at(&self, place: SchemaId) -> &Place<'a> {
        &self.places[place]
    }

    fn place(
        &mut self,
        document: usize,
        pointer: String,
        schema: &'a Value,
    ) -> Result<SchemaId, Refusal> {
        let key = (document, pointer);
        if let Some(place) = self.known.get(&key) {
            return Ok(*place);
        }
        if self.places.len() >= MAX_SCHEMAS {
            let problem = format!("it has more than {MAX_SCHEMAS} subschemas");
            return Err(Refusal::new(document, key.1, problem));
        }
        let place = Place { document, pointer: key.1.clone(), schema, facts: None };
        self.places.push(place);
        self.known.insert(key, self.places.len() - 1);
        Ok(self.places.len() - 1)
    }

    /// Returns the constraints of the schema at a place.
    pub(super) fn facts(&mut self, place: SchemaId) -> Result<Rc<Facts<'a>>, Refusal> {
        let Place { document, pointer, schema, facts } = &self.places[place];
        if let Some(facts) = facts {
            return Ok(facts.clone());
        }
        let (document, pointer, schema) = (*document, pointer.clone(), *schema);
        let facts = match schema {
            Value::Bool(true) => Facts::default(),
            Value::Bool(false) => Facts { types: Types::NONE, ..Facts::default() },
            Value::Object(map) => Keywords { reader: self, document, pointer, map }.read()?,
            _ => return Err(Refusal::new(document, pointer, "a schema is an object or a boolean")),
        };
        let facts = Rc::new(facts);
        self.places[place].facts = Some(facts.clone());
        Ok(facts)
    }

    /// Parses schemas that no value reaches too, so that their errors are reported.
    pub(super) fn read_rest(&mut self) -> Result<(), Refusal> {
        let mut place = 0;
        while place < self.places.len() {
            self.facts(place)?;
            place += 1;
        }
        Ok(())
    }

    /// Returns an expression for the names in which a pattern is found.
    pub(super) fn pattern(&self, pattern: &str) -> Option<&RegexAst> {
        self.patterns.get(pattern)
    }
}

/// Parses the keywords of one schema.
struct Keywords<'r, 'a> {
    reader: &'r mut Reader<'a>,
    document: usize,
    pointer: String,
    map: &'a Map<String, Value>,
}

impl<'a> Keywords<'_, 'a> {
    fn read(mut self) -> Result<Facts<'a>, Refusal> {
        for (name, value) in self.map {
            if UNSUPPORTED_KEYWORDS.contains(&name.as_str())
                && !(name == "uniqueItems" && *value == false)
            {
                let problem = format!("the keyword '{name}' is not supported");
                return Err(self.refuse(name, problem));
            }
        }
        let draft = self.reader.documents[self.document].draft(self.map);
        let mut facts = Facts { is_draft_4: draft == 4, ..Facts::default() };
        self.types(&mut facts)?;
        self.values(&mut facts)?;
        self.numbers(&mut facts)?;
        self.texts(&mut facts)?;
        self.items(&mut facts, draft)?;
        self.members(&mut facts)?;
        self.in_place(&mut facts)?;
        Ok(facts)
    }

    fn refuse(&self, keyword: &str, problem: impl Into<String>) -> Refusal {
        Refusal::new(self.document, pointer::join(&self.pointer, keyword), problem)
    }

    fn expected(&self, keyword: &str, what: &str) -> Refusal {
        self.refuse(keyword, format!("'{keyword}' must be {what}"))
    }

    fn types(&self, facts: &mut Facts<'a>) -> Result<(), Refusal> {
        let named = |value: &Value| {
            let name = value.as_str().and_then(Types::named);
            name.ok_or_else(|| {
                let allowed = "null, boolean, integer, number, string, array, object";
                self.refuse("type", format!("the type {value} is unknown; known are {allowed}"))
            })
        };
        match self.map.get("type") {
            None => {}
            Some(Value::Array(types)) => {
                facts.types = Types::NONE;
                for one in types {
                    facts.types = facts.types.or(named(one)?);
                }
            }
            Some(one) => facts.types = named(one)?,
        }
        Ok(())
    }

    fn values(&self, facts: &mut Facts<'a>) -> Result<(), Refusal> {
        if let Some(value) = self.map.get("enum") {
            let values = value.as_array().ok_or_else(|| self.expected("enum", "an array"))?;
            facts.values.push(values);
        }
        facts.values.extend(self.map.get("const").map(std::slice::from_ref));
        Ok(())
    }

    fn number(&self, keyword: &str) -> Result<Option<Decimal>, Refusal> {
        let Some(value) = self.map.get(keyword) else { return Ok(None) };
        let number = value.as_number().ok_or_else(|| self.expected(keyword, "a number"))?;
        let too_long =
            || self.refuse(keyword, format!("{number} has more than {MAX_DIGITS} digits"));
        Decimal::read(number).ok_or_else(too_long).map(Some)
    }

    fn numbers(&self, facts: &mut Facts<'a>) -> Result<(), Refusal> {
        let numbers = &mut facts.numbers;
        let is_draft_4 = |keyword: &str| self.map.get(keyword).and_then(Value::as_bool);
        let (low_in, high_in) = (is_draft_4("exclusiveMinimum"), is_draft_4("exclusiveMaximum"));
        if let Some(low) = self.number("minimum")? {
            numbers.raise((low, low_in != Some(true)));
        }
        if let Some(high) = self.number("maximum")? {
            numbers.lower((high, high_in != Some(true)));
        }
        if low_in.is_none()
            && let Some(low) = self.number("exclusiveMinimum")?
        {
            numbers.raise((low, false));
        }
        if high_in.is_none()
            && let Some(high) = self.number("exclusiveMaximum")?
        {
            numbers.lower((high, false));
        }
        if let Some(multiple) = self.number("multipleOf")? {
            if multiple.is_zero() || multiple.is_negative() {
                return Err(self.expected("multipleOf", "more than 0"));
            }
            if !numbers::is_supported_multiple(&multiple) {
                let (most, scale) = (numbers::MAX_COEFFICIENT, numbers::MAX_SCALE);
                let problem = format!(
                    "multiples of this can't be kept: allowed are powers of ten, and up to {most} of \
                     10^-{scale} or of a larger power"
                );
                return Err(self.refuse("multipleOf", problem));
            }
            numbers.multiples.push(multiple);
        }
        Ok(())
    }

    /// Returns a non-negative count; 2.0 is valid too.
    fn count(&self, keyword: &str) -> Result<Option<usize>, Refusal> {
        let Some(number) = self.number(keyword)? else { return Ok(None) };
        if number.is_negative() || !number.is_whole() {
            return Err(self.expected(keyword, "a whole number from 0"));
        }
        let digits = number.whole_digits();
        // A count that overflows is larger than any answer.
        let count = digits.iter().fold(0_usize, |count, digit| {
            count.saturating_mul(10).saturating_add(usize::from(*digit))
        });
        Ok(Some(count))
    }

    fn texts(&mut self, facts: &mut Facts<'a>) -> Result<(), Refusal> {
        let (least, most) = (self.count("minLength")?, self.count("maxLength")?);
        for (keyword, length) in [("minLength", least), ("maxLength", most)] {
            if let Some(length) = length.filter(|length| *length > MAX_LENGTH) {
                let problem = format!(
                    "{keyword} is {length}, at most {MAX_LENGTH} can be kept; leave it out, or make it \
                     smaller"
                );
                return Err(self.refuse(keyword, problem));
            }
        }
        (facts.texts.least, facts.texts.most) = (least.unwrap_or(0), most);
        if let Some(value) = self.map.get("pattern") {
            let text = value.as_str().ok_or_else(|| self.expected("pattern", "a string"))?;
            let form = self.pattern(text, &pointer::join(&self.pointer, "pattern"))?;
            facts.texts.forms.push((format!("pattern {text}"), form));
        }
        if let Some(value) = self.map.get("format") {
            let name = value.as_str().ok_or_else(|| self.expected("format", "a string"))?;
            match formats::expression(name) {
                Some(form) => {
                    facts.texts.forms.push((format!("format {name}"), RegexAst::Regex(form)));
                }
                None => self.warn_unknown_format(name),
            }
        }
        Ok(())
    }

    fn warn_unknown_format(&mut self, name: &str) {
        let unknown = &mut self.reader.unknown_formats;
        if unknown.iter().all(|(known, _)| known != name) {
            unknown.push((name.to_owned(), pointer::join(&self.pointer, "format")));
        }
    }

    /// Parses a pattern, once.
    fn pattern(&mut self, pattern: &str, at: &str) -> Result<RegexAst, Refusal> {
        if let Some(known) = self.reader.patterns.get(pattern) {
            return Ok(known.clone());
        }
        let refuse = |problem| Refusal::new(self.document, at.to_owned(), problem);
        let read = pattern::search(pattern).map_err(refuse)?;
        self.reader.patterns.insert(pattern.to_owned(), read.clone());
        Ok(read)
    }

    /// Returns the place of a schema within this one.
    fn schema(&mut self, steps: &[&str], schema: &'a Value) -> Result<SchemaId, Refusal> {
        let at = steps.iter().fold(self.pointer.clone(), |at, step| pointer::join(&at, step));
        self.reader.place(self.document, at, schema)
    }

    fn schemas(&mut self, keyword: &str) -> Result<Vec<SchemaId>, Refusal> {
        let Some(value) = self.map.get(keyword) else { return Ok(Vec::new()) };
        let schemas = value.as_array().ok_or_else(|| self.expected(keyword, "an array"))?;
        let numbered = schemas.iter().enumerate();
        numbered.map(|(index, one)| self.schema(&[keyword, &index.to_string()], one)).collect()
    }

    fn items(&mut self, facts: &mut Facts<'a>, draft: u32) -> Result<(), Refusal> {
        let (least, most) = (self.count("minItems")?, self.count("maxItems")?);
        (facts.items.least, facts.items.most) = (least.unwrap_or(0), most);
        // Before 2020-12, an array of `items` had the meaning of `prefixItems`.
        let is_old = draft < 2020 || matches!(self.map.get("items"), Some(Value::Array(_)));
        let (first, rest) = match (is_old, self.map.get("items")) {
            (true, Some(Value::Array(_))) => ("items", Some("additionalItems")),
            (true, _) => ("", Some("items")),
            (false, _) => ("prefixItems", Some("items")),
        };
        facts.items.first = self.schemas(first)?;
        if let Some((keyword, schema)) = rest.and_then(|key| Some((key, self.map.get(key)?))) {
            facts.items.rest = Some(self.schema(&[keyword], schema)?);
        }
        Ok(())
    }

    fn members(&mut self, facts: &mut Facts<'a>) -> Result<(), Refusal> {
        let members = &mut facts.members;
        let (least, most) = (self.count("minProperties")?, self.count("maxProperties")?);
        (members.least, members.most) = (least.unwrap_or(0), most);
        for (keyword, into) in
            [("properties", &mut members.named), ("patternProperties", &mut members.patterns)]
        {
            let Some(value) = self.map.get(keyword) else { continue };
            let schemas = value.as_object().ok_or_else(|| self.expected(keyword, "an object"))?;
            for (name, schema) in schemas {
                into.push((name.clone(), self.schema(&[keyword, name], schema)?));
            }
        }
        for (pattern, _) in members.patterns.clone() {
            let at = pointer::join(&pointer::join(&self.pointer, "patternProperties"), &pattern);
            self.pattern(&pattern, &at)?;
        }
        if let Some(others) = self.map.get("additionalProperties") {
            members.others = Some(self.schema(&["additionalProperties"], others)?);
        }
        if let Some(value) = self.map.get("required") {
            let names = value.as_array().ok_or_else(|| self.expected("required", "an array"))?;
            for name in names {
                let name = name.as_str().ok_or_else(|| self.expected("required", "of strings"))?;
                members.required.push(name.to_owned());
            }
        }
        Ok(())
    }

    /// Parses the keywords whose schemas apply to the same value.
    fn in_place(&mut self, facts: &mut Facts<'a>) -> Result<(), Refusal> {
        facts.all = self.schemas("allOf")?;
        if let Some(value) = self.map.get("$ref") {
            let reference = value.as_str().ok_or_else(|| self.expected("$ref", "a string"))?;
            let document = &self.reader.documents[self.document];
            let target = document.follow(&self.pointer, reference);
            let (pointer, schema) = target.map_err(|problem| self.refuse("$ref", problem))?;
            facts.all.push(self.reader.place(self.document, pointer, schema)?);
        }
        for (keyword, is_exclusive) in [("anyOf", false), ("oneOf", true)] {
            if self.map.contains_key(keyword) {
                let at = pointer::join(&self.pointer, keyword);
                let options = self.schemas(keyword)?;
                facts.choices.push(Choice { options, exclusive: is_exclusive.then_some(at) });
            }
        }
        Ok(())
    }
}
