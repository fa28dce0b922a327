//! Parses the YAML file by the rules of docs/CONFIGURATION.md; pure.
//!
//! Uses the same parser as `config`, but reads its events, because only these have a value's text
//! as written (`config` converts 0123456789 to a number) and its line.

use yaml_rust2::parser::{Event, Parser, Tag};
use yaml_rust2::scanner::{Marker, ScanError, TScalarStyle};

use super::file::{BadLine, Contents, Entry, Written};

/// Returns the settings in `text`, and the problems with the others. Stops at the first syntax
/// error.
pub(super) fn entries(text: &str) -> Contents {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        entries: Vec::new(),
        bad: Vec::new(),
        reading: None,
    };
    if let Err(error) = reader.document() {
        let what = format!(
            "this is not valid YAML ({}); put values with special characters into quotes",
            error.info()
        );
        let name = reader.reading.take();
        reader.bad.push(BadLine { line: error.marker().line(), name, what });
    }
    (reader.entries, reader.bad)
}

struct Reader<'a> {
    parser: Parser<std::str::Chars<'a>>,
    entries: Vec<Entry>,
    bad: Vec<BadLine>,
    /// The name whose value is being read.
    reading: Option<String>,
}

/// A value, or the reason why it is not allowed.
type Value = Result<Written, String>;

impl Reader<'_> {
    /// Reads the stream, which must be empty or one document that maps names to values.
    fn document(&mut self) -> Result<(), ScanError> {
        let mut documents = 0;
        loop {
            let (event, at) = self.parser.next_token()?;
            match event {
                Event::StreamEnd => return Ok(()),
                Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
                Event::DocumentStart => {
                    documents += 1;
                    if documents == 2 {
                        self.refuse(
                            &at,
                            "a second document begins here: put all settings into one document",
                        );
                    }
                }
                Event::MappingStart(..) if documents == 1 => self.mapping()?,
                Event::Scalar(text, style, ..) if is_null(&text, style) => {}
                first => {
                    if documents == 1 {
                        self.refuse(&at, "the file has no lines of the form `name: value`");
                    }
                    self.skip(first)?;
                }
            }
        }
    }

    /// Reads names and values up to the end of the mapping.
    fn mapping(&mut self) -> Result<(), ScanError> {
        loop {
            let (name, at) = self.parser.next_token()?;
            let name = match name {
                Event::MappingEnd => return Ok(()),
                Event::Scalar(name, ..) => name,
                other => {
                    self.skip(other)?;
                    let (value, _) = self.parser.next_token()?;
                    self.skip(value)?;
                    self.refuse(&at, "no name of a setting is here: write `name: value`");
                    continue;
                }
            };
            self.reading = Some(name.clone());
            let value = self.value()?;
            self.reading = None;
            match value {
                Ok(value) => self.entries.push(Entry { name, value, line: at.line() }),
                Err(what) => self.bad.push(BadLine { line: at.line(), name: Some(name), what }),
            }
        }
    }

    /// Reads a whole value of any kind.
    fn value(&mut self) -> Result<Value, ScanError> {
        let (event, _) = self.parser.next_token()?;
        let value = match event {
            Event::SequenceStart(_, tag) => {
                let mut items = require_string_tag(tag.as_ref()).map(|()| Vec::new());
                loop {
                    let (item, _) = self.parser.next_token()?;
                    if item == Event::SequenceEnd {
                        return Ok(items.map(Written::Several));
                    }
                    let read = scalar(&item);
                    self.skip(item)?;
                    items = match (items, read) {
                        (Ok(mut items), Ok(read)) => {
                            items.push(read);
                            Ok(items)
                        }
                        (Err(what), _) | (_, Err(what)) => Err(what),
                    };
                }
            }
            event => {
                let read = scalar(&event).map(Written::One);
                self.skip(event)?;
                read
            }
        };
        Ok(value)
    }

    /// Skips the rest of the value that started with `event`.
    fn skip(&mut self, event: Event) -> Result<(), ScanError> {
        let mut depth = 0_usize;
        let mut event = event;
        loop {
            match event {
                Event::MappingStart(..) | Event::SequenceStart(..) => depth += 1,
                Event::MappingEnd | Event::SequenceEnd => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return Ok(());
            }
            (event, _) = self.parser.next_token()?;
        }
    }

    fn refuse(&mut self, at: &Marker, what: &str) {
        self.bad.push(BadLine { line: at.line(), name: None, what: what.to_owned() });
    }
}

/// Returns a scalar as written; null values are empty.
fn scalar(event: &Event) -> Result<String, String> {
    match event {
        Event::Scalar(text, style, _, tag) => {
            require_string_tag(tag.as_ref())?;
            Ok(if is_null(text, *style) { String::new() } else { text.clone() })
        }
        Event::Alias(_) => {
            Err("a * begins an alias, and aliases are not supported: write the value \
                                itself; put a value that begins with * into quotes"
                .to_owned())
        }
        _ => Err("a single value is expected, or a list of them".to_owned()),
    }
}

/// Returns `true` for YAML's unquoted null values.
fn is_null(text: &str, style: TScalarStyle) -> bool {
    style == TScalarStyle::Plain && matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn require_string_tag(tag: Option<&Tag>) -> Result<(), String> {
    match tag {
        None => Ok(()),
        Some(tag) if tag.suffix == "str" => Ok(()),
        Some(_) => {
            Err("a ! begins a tag, and tags are not supported: remove it; put a value that \
                        begins with ! into quotes"
                .to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Written {
        let (mut entries, bad) = entries(text);
        assert!(bad.is_empty() && entries.len() == 1, "{text:?}: {entries:?} {bad:?}");
        entries.remove(0).value
    }

    #[test]
    fn yaml_scalars_are_read_as_text() {
        for text in
            ["0123456789", "1e5", "yes", "0x10", "1_000", "2025-11-21", "True", ".inf", "a#b"]
        {
            assert_eq!(one(&format!("k: {text}")), Written::One(text.to_owned()), "{text}");
            assert_eq!(one(&format!("k: !!str {text}")), Written::One(text.to_owned()), "{text}");
        }
        for text in ["", "~", "null", "''", "\"\"", "[]", "[ '' , ~]"] {
            assert!(one(&format!("k: {text}")).is_empty(), "{text}");
        }
        assert_eq!(one("k: 'null'"), Written::One("null".to_owned()));
        assert_eq!(one("k: |\n  text\n"), Written::One("text\n".to_owned()));
        let items = Written::Several(vec!["0123".to_owned(), "no".to_owned()]);
        assert_eq!(one("k: [0123, no]"), items);
        assert_eq!(one("k:\n- 0123\n- no\n"), items);
    }

    #[test]
    fn yaml_entries_have_line_numbers() {
        let (found, bad) = entries("# c\r\na: 1\r\n\r\n\"b\": [x,\r\n  y]\r\nc:\r\nd: 4\r\n");
        assert!(bad.is_empty(), "{bad:?}");
        let lines: Vec<_> = found.iter().map(|entry| (entry.name.as_str(), entry.line)).collect();
        assert_eq!(lines, [("a", 2), ("b", 4), ("c", 6), ("d", 7)]);
        for empty in ["", "# only a comment\n", "---\n", "~\n"] {
            assert_eq!(entries(empty), (vec![], vec![]), "{empty:?}");
        }
    }

    #[test]
    fn invalid_yaml_entries_are_refused_by_line_and_others_read() {
        for (text, line, word) in [
            ("a: 1\nb: {c: [d, {e: f}]}\nz: 1", 2, "a single value"),
            ("a: &x 1\nb: *x\nz: 1", 2, "a * begins an alias"),
            ("a: 1\nb: !!int 1\nz: 1", 2, "a ! begins a tag"),
            ("a: 1\nb: [x, [y]]\nz: 1", 2, "a single value"),
            ("a: 1\n? [x, y]\n: 1\nz: 1", 2, "no name"),
            ("a: 1\nz: 1\n---\nb: 1\n", 3, "second document"),
        ] {
            let (found, bad) = entries(text);
            assert_eq!((bad.len(), bad[0].line), (1, line), "{text:?}: {bad:?}");
            assert!(bad[0].what.contains(word), "{text:?}: {bad:?}");
            let names: Vec<_> = found.iter().map(|entry| entry.name.as_str()).collect();
            assert_eq!(names, ["a", "z"], "{text:?}");
        }
        for (text, line) in [("- a\n- b\n", 1), ("just text\n", 1)] {
            let (_, bad) = entries(text);
            assert!(
                bad[0].line == line && bad[0].what.contains("name: value"),
                "{text:?}: {bad:?}"
            );
        }
        let (_, bad) = entries("a: 1\nb: \"seSame\nc: 2\n");
        assert!(bad[0].what.contains("not valid YAML"), "{bad:?}");
        assert!(!bad[0].what.contains("seSame"), "{bad:?}");
    }
}
