//! Splits HTML into tags and text, as tolerantly as a browser, in linear time.

/// A part of HTML.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Text, with its entities.
    Text(&'a str),
    /// `<name …>`; names are in lower case.
    Open { name: String, attributes: Vec<(String, &'a str)> },
    /// `</name>`.
    Close(String),
}

/// Elements whose contents are not shown: left out as a whole.
const HIDDEN: [&str; 13] = [
    "script",
    "style",
    "textarea",
    "title",
    "noscript",
    "noembed",
    "noframes",
    "iframe",
    "xmp",
    "plaintext",
    "template",
    "object",
    "svg",
];
/// The longest name of a tag.
const MAX_NAME: usize = 40;
/// The most attributes of a tag; further ones are left out.
const MAX_ATTRIBUTES: usize = 32;

/// The tokens of a text.
#[derive(Debug)]
pub(super) struct Tokens<'a> {
    rest: &'a str,
    /// Whether the text ends within a tag, which is left out.
    pub(super) is_cut: bool,
    /// Whether scripts, styles and the like were left out.
    pub(super) has_hidden: bool,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text, is_cut: false, has_hidden: false }
    }

    /// Takes what stands before `end`, and `end` itself; everything if there is no end.
    fn take_to(&mut self, end: &str) {
        match self.rest.split_once(end) {
            Some((_, after)) => self.rest = after,
            None => self.cut(),
        }
    }

    fn cut(&mut self) {
        self.is_cut = true;
        self.rest = "";
    }

    /// Takes a name off: letters, digits and some signs.
    fn name(&mut self) -> String {
        let is_of_name =
            |c: char| !c.is_whitespace() && !matches!(c, '>' | '/' | '=' | '<' | '"' | '\'');
        let end = self.rest.find(|c| !is_of_name(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        name.to_ascii_lowercase()
    }

    /// Takes the attributes of a tag and its end off; `None` if the text ends before.
    fn attributes(&mut self) -> Option<Vec<(String, &'a str)>> {
        let mut attributes = Vec::new();
        loop {
            self.rest = self.rest.trim_start_matches(|c: char| {
                c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '=')
            });
            match self.rest.bytes().next()? {
                b'>' => {
                    self.rest = &self.rest[1..];
                    return Some(attributes);
                }
                // The tag has no end, and the next begins.
                b'<' => return Some(attributes),
                _ => {}
            }
            let name = self.name();
            self.rest = self.rest.trim_start();
            let value = match self.rest.strip_prefix('=') {
                Some(rest) => {
                    self.rest = rest.trim_start();
                    self.attribute_value(name.starts_with("data-"))?
                }
                None => "",
            };
            if attributes.len() < MAX_ATTRIBUTES && !name.is_empty() {
                attributes.push((name, value));
            }
        }
    }

    fn attribute_value(&mut self, is_data: bool) -> Option<&'a str> {
        let quote = self.rest.chars().next().filter(|c| matches!(c, '"' | '\''));
        let rest = &self.rest[quote.map_or(0, char::len_utf8)..];
        // Coordinates have no `>`, so there the quote is missing.
        let is_end = |c: char| match quote {
            Some(quote) => c == quote || (is_data && c == '>'),
            None => c.is_whitespace() || c == '>',
        };
        let end = rest.find(is_end)?;
        self.rest = &rest[end..];
        if let Some(quote) = quote {
            self.rest = self.rest.strip_prefix(quote).unwrap_or(self.rest);
        }
        Some(&rest[..end])
    }

    /// Skips the contents of an element, up to its closing tag.
    fn skip_contents(&mut self, name: &str) {
        self.has_hidden = true;
        let end = self.rest.match_indices("</").find(|(at, _)| {
            let after = self.rest.as_bytes().get(at + 2..at + 2 + name.len());
            after.is_some_and(|after| after.eq_ignore_ascii_case(name.as_bytes()))
        });
        match end {
            Some((at, _)) => {
                self.rest = &self.rest[at..];
                self.take_to(">");
            }
            None => self.cut(),
        }
    }
}

/// Returns whether a tag follows `<`: a name and then its end, since formulas have `0<x<1` and `$a<b$`.
fn begins_tag(after: &str) -> bool {
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    let length = after.bytes().take(MAX_NAME).take_while(is_of_name).count();
    let end = after.as_bytes().get(length);
    after.starts_with(|c: char| c.is_ascii_alphabetic())
        && end.is_none_or(|end| end.is_ascii_whitespace() || matches!(end, b'>' | b'/'))
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let after = match self.rest.strip_prefix('<') {
                Some(after) => after,
                None if self.rest.is_empty() => return None,
                None => {
                    let end = self.rest.find('<').unwrap_or(self.rest.len());
                    let (text, rest) = self.rest.split_at(end);
                    self.rest = rest;
                    return Some(Token::Text(text));
                }
            };
            let next = after.chars().next();
            if after.starts_with("!--") {
                self.take_to("-->");
            } else if matches!(next, Some('!' | '?')) {
                self.take_to(">");
            } else if let Some(closing) = after.strip_prefix('/')
                && closing.starts_with(|c: char| c.is_ascii_alphabetic())
            {
                self.rest = closing;
                let name = self.name();
                self.take_to(">");
                return Some(Token::Close(name));
            } else if begins_tag(after) {
                self.rest = after;
                let name = self.name();
                let Some(attributes) = self.attributes() else {
                    self.cut();
                    return None;
                };
                if HIDDEN.contains(&name.as_str()) {
                    self.skip_contents(&name);
                    continue;
                }
                return Some(Token::Open { name, attributes });
            } else if next.is_none() {
                self.cut();
            } else {
                let (text, rest) = self.rest.split_at(1);
                self.rest = rest;
                return Some(Token::Text(text));
            }
        }
    }
}
