//! The tolerant parser of JSON. It never goes back by more than one string, so its time is linear.
//!
//! A value that the end of the text cuts is left out, along with the object around it if that is an element of a list
//! and the cut is within its key or value; complete elements and members are kept.

use serde_json::{Map, Value};

use super::Repairs;
use super::literals::Bare;
use super::strings::{Place, Scan, string};

/// The deepest nesting. It is that of serde_json.
pub(crate) const MAX_DEPTH: usize = 128;

/// What a repair is called that closes what is open.
pub(super) const MISSING_BRACKETS: &str = "missing brackets";

/// The text is nested deeper than [`MAX_DEPTH`].
#[derive(Debug)]
pub(super) struct TooDeep;

/// How a value ended.
enum Parsed {
    Whole(Value),
    /// The text ended within it. Its complete parts remain, if any.
    Cut(Option<Value>),
    /// There is no value: the character was skipped, or it belongs to what is around.
    Nothing,
}

struct Parser<'a, 'r> {
    text: &'a str,
    at: usize,
    /// The brackets that close what is open.
    open: Vec<u8>,
    repairs: &'r mut Repairs,
}

/// Appends the values of a text: whatever looks like a list or an object. Those before something nested too deep
/// are kept.
pub(super) fn parse(
    text: &str,
    values: &mut Vec<Value>,
    repairs: &mut Repairs,
) -> Result<(), TooDeep> {
    let mut parser = Parser { text, at: 0, open: Vec::new(), repairs };
    let before = values.len();
    // Brackets among words that begin no value.
    let mut of_words = 0_usize;
    while let Some(byte) = parser.peek() {
        if matches!(byte, b'[' | b'{') && parser.is_plausible() {
            match parser.value()? {
                Parsed::Whole(value) => values.push(value),
                Parsed::Cut(value) => {
                    if !parser.repairs.is_cut {
                        parser.repairs.note(MISSING_BRACKETS);
                    }
                    values.extend(value);
                }
                Parsed::Nothing => {}
            }
            continue;
        }
        match byte {
            b'[' | b'{' => of_words += 1,
            b'}' | b']' if of_words > 0 => of_words -= 1,
            b'}' | b']' => parser.repairs.note("brackets without a beginning"),
            byte if byte.is_ascii_alphanumeric() || byte >= 0x80 => parser.repairs.has_words = true,
            _ => {}
        }
        parser.at += 1;
    }
    if values.len() > before + 1 {
        parser.repairs.note("several values in a row");
    }
    Ok(())
}

impl<'a> Parser<'a, '_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Skips one character.
    fn skip(&mut self) {
        self.at += self.rest().chars().next().map_or(1, char::len_utf8);
    }

    /// Returns whether a bracket among words begins a value.
    fn is_plausible(&self) -> bool {
        let mut scan = Scan { text: self.text, at: self.at + 1 };
        scan.blanks();
        let rest = scan.text.get(scan.at..).unwrap_or_default();
        let is_list = self.peek() == Some(b'[');
        match scan.peek() {
            None => true,
            Some(b'"' | b'\'' | b'{' | b'[' | b']' | b'}' | b'/' | b'#') => true,
            Some(b'-' | b'0'..=b'9' | b'.' | b'(' | b'\\') => is_list,
            Some(_) if is_list => ["true", "false", "null", "True", "False", "None"]
                .iter()
                .any(|word| rest.starts_with(word)),
            Some(_) => scan.has_bare_key(),
        }
    }

    /// Skips whitespace, comments, and line breaks that are written as escapes.
    fn blanks(&mut self) {
        let mut scan = Scan { text: self.text, at: self.at };
        scan.blanks();
        self.at = scan.at;
        loop {
            let rest = self.rest();
            let length = if rest.starts_with("//") || rest.starts_with('#') {
                rest.find('\n').unwrap_or(rest.len())
            } else if rest.starts_with("/*") {
                rest.find("*/").map_or(rest.len(), |end| end + 2)
            } else if ["\\n", "\\t", "\\r"].iter().any(|escape| rest.starts_with(escape)) {
                self.at += 2;
                self.repairs.note("line breaks as escapes");
                self.spaces();
                continue;
            } else {
                return;
            };
            self.at += length;
            self.repairs.note("comments");
            self.spaces();
        }
    }

    fn spaces(&mut self) {
        let mut scan = Scan { text: self.text, at: self.at };
        scan.blanks();
        self.at = scan.at;
    }

    fn value(&mut self) -> Result<Parsed, TooDeep> {
        self.blanks();
        match self.peek() {
            None => Ok(self.cut(None)),
            Some(b'{') => self.nested(b'}'),
            Some(b'[') => self.nested(b']'),
            Some(b'(') => {
                self.repairs.note("parentheses");
                self.nested(b')')
            }
            Some(b'"' | b'\'') => {
                let place =
                    if self.open.last() == Some(&b'}') { Place::Member } else { Place::Element };
                let string = string(self.text, &mut self.at, place, self.repairs);
                Ok(string.map_or_else(|| self.cut(None), |text| Parsed::Whole(text.into())))
            }
            Some(_) => Ok(self.bare()),
        }
    }

    /// Says that something is lost at the end of the text.
    fn cut(&mut self, value: Option<Value>) -> Parsed {
        self.repairs.is_cut = true;
        Parsed::Cut(value)
    }

    fn nested(&mut self, close: u8) -> Result<Parsed, TooDeep> {
        if self.open.len() == MAX_DEPTH {
            return Err(TooDeep);
        }
        self.open.push(close);
        self.at += 1;
        let parsed = if close == b'}' { self.object() } else { self.list(close) };
        self.open.pop();
        parsed
    }

    /// Returns whether a bracket closes the innermost value. `is_complete` says that no comma stands before it.
    fn closes_after(&mut self, byte: u8, is_complete: bool) -> bool {
        let closes = self.closes(byte);
        if closes && !is_complete {
            self.repairs.note("trailing commas");
        }
        closes
    }

    /// Skips a comma. `is_after` says that it follows a value.
    fn comma(&mut self, is_after: bool) {
        self.at += 1;
        if !is_after {
            self.repairs.note("superfluous commas");
        }
    }

    /// Handles a closing bracket. Returns whether it ends the innermost list or object.
    fn closes(&mut self, byte: u8) -> bool {
        let innermost = self.open.last().copied();
        if innermost == Some(byte) {
            self.at += 1;
            return true;
        }
        let (around, is_object) = (self.open.len().saturating_sub(1), innermost == Some(b'}'));
        if self.open[..around].contains(&byte) {
            self.repairs.note(MISSING_BRACKETS);
            return true;
        }
        self.at += 1;
        self.repairs.note("wrong brackets");
        // `[1, 2)` ends a list; a bracket that nothing waits for is skipped.
        !is_object && byte != b'}'
    }

    fn object(&mut self) -> Result<Parsed, TooDeep> {
        let mut map = Map::new();
        // Whether a member has just ended, so that a comma or the end may follow.
        let mut is_after = false;
        loop {
            self.blanks();
            let Some(byte) = self.peek() else {
                let is_element =
                    self.open.iter().rev().nth(1).is_some_and(|around| *around != b'}');
                self.repairs.is_cut |= !is_after;
                let is_kept = !map.is_empty() && (is_after || !is_element);
                return Ok(Parsed::Cut(is_kept.then_some(Value::Object(map))));
            };
            match byte {
                b'}' | b']' | b')' => {
                    if self.closes_after(byte, is_after || map.is_empty()) {
                        return Ok(Parsed::Whole(Value::Object(map)));
                    }
                    continue;
                }
                b',' => {
                    self.comma(is_after);
                    is_after = false;
                    continue;
                }
                // The brackets of this object are missing: the next one begins.
                b'{' if !map.is_empty() && self.open.iter().rev().nth(1) != Some(&b'}') => {
                    self.repairs.note(MISSING_BRACKETS);
                    return Ok(Parsed::Whole(Value::Object(map)));
                }
                _ if is_after => self.repairs.note("missing commas"),
                _ => {}
            }
            is_after = false;
            let Some(key) = self.key(byte)? else { continue };
            self.blanks();
            match self.peek() {
                Some(b':') => self.at += 1,
                Some(b'=') => {
                    self.at += if self.rest().starts_with("=>") { 2 } else { 1 };
                    self.repairs.note("signs in the place of colons");
                }
                None => continue,
                Some(_) => {
                    self.repairs.note("unreadable parts, which were left out");
                    continue;
                }
            }
            self.blanks();
            if let Some(b',' | b'}' | b']') = self.peek() {
                self.repairs.note("missing values");
                map.insert(key, Value::Null);
                is_after = true;
                continue;
            }
            match self.value()? {
                Parsed::Whole(value) => {
                    map.insert(key, value);
                    is_after = true;
                }
                Parsed::Cut(Some(value)) => {
                    map.insert(key, value);
                    return Ok(Parsed::Cut(Some(Value::Object(map))));
                }
                Parsed::Cut(None) => {} // the next turn sees the end
                Parsed::Nothing => is_after = true,
            }
        }
    }

    /// Returns a key. Anything else is skipped.
    fn key(&mut self, byte: u8) -> Result<Option<String>, TooDeep> {
        if matches!(byte, b'"' | b'\'') {
            return Ok(string(self.text, &mut self.at, Place::Key, self.repairs));
        }
        let scan = Scan { text: self.text, at: self.at };
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80 {
            let key = scan.bare_key();
            self.at += key.len().max(1);
            self.repairs.note("keys without quotes");
            return Ok((!key.is_empty()).then(|| key.trim().to_owned()));
        }
        self.repairs.note("unreadable parts, which were left out");
        if matches!(byte, b'{' | b'[' | b'(') {
            self.value()?;
        } else {
            self.skip();
        }
        Ok(None)
    }

    fn list(&mut self, close: u8) -> Result<Parsed, TooDeep> {
        let mut items = Vec::new();
        let mut is_after = false;
        let is_member = self.open.iter().rev().nth(1) == Some(&b'}');
        loop {
            self.blanks();
            let Some(byte) = self.peek() else {
                self.repairs.is_cut |= !is_after;
                return Ok(Parsed::Cut(self.rest_of_list(items)));
            };
            match byte {
                b']' | b')' | b'}' => {
                    if self.closes_after(byte, is_after || items.is_empty()) {
                        return Ok(Parsed::Whole(items.into()));
                    }
                    continue;
                }
                b',' => {
                    self.comma(is_after);
                    is_after = false;
                    continue;
                }
                // A key follows: the list that it stands in has no bracket.
                b'"' | b'\'' if is_member && close == b']' => {
                    let begin = self.at;
                    if (Scan { text: self.text, at: begin }).is_key_of_colon() {
                        self.repairs.note(MISSING_BRACKETS);
                        return Ok(Parsed::Whole(items.into()));
                    }
                }
                _ => {}
            }
            if is_after {
                self.repairs.note("missing commas");
            }
            is_after = false;
            match self.value()? {
                Parsed::Whole(value) => {
                    items.push(value);
                    is_after = true;
                }
                Parsed::Cut(value) => {
                    items.extend(value);
                    return Ok(Parsed::Cut(self.rest_of_list(items)));
                }
                Parsed::Nothing => {}
            }
        }
    }

    /// Returns what remains of a list that is cut: nothing if it is a list of numbers in something else, since half
    /// of a box is worse than none.
    fn rest_of_list(&mut self, items: Vec<Value>) -> Option<Value> {
        let is_coordinates = self.open.len() > 1 && items.iter().all(Value::is_number);
        self.repairs.is_cut |= is_coordinates;
        (!items.is_empty() && !is_coordinates).then(|| items.into())
    }

    /// Reads a number, a literal, or words without quotes.
    fn bare(&mut self) -> Parsed {
        let Bare { value, length, repair } = Bare::read(self.rest());
        self.at += length;
        if let Some(kind) = repair {
            self.repairs.note(kind);
        }
        match value {
            Some(value) => Parsed::Whole(value),
            None if self.at == self.text.len() => self.cut(None),
            None => Parsed::Nothing,
        }
    }
}
