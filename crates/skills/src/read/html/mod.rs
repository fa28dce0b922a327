//! Reads Qwen's HTML of documents: elements with `data-bbox` and `data-polygon`, and the HTML without them.
//!
//! The HTML is cleaned as in the cookbook of Qwen2.5-VL: without colours and boxes, with `formula.handwritten` and the
//! like as `formula`, without the contents of charts, music and chemistry. It may be shown in a browser ([`safe`]).
//! The text of an element is that of the innermost element with a box around it.

mod element;
mod safe;
mod tokens;

use serde_json::{Value, json};

use self::element::Element;
use self::tokens::{Token, Tokens};
use super::coordinates::Space;
use super::warnings::{MAX_ITEMS, Trouble, Warnings, quoted};
use super::{Reading, fence, shapes};

/// The deepest nesting; deeper elements are left out and their text is kept.
const MAX_DEPTH: usize = 100;
/// Classes whose contents are not shown, and what the cleaned HTML calls them.
const EMPTIED: [(&str, &str); 4] = [
    ("image caption", "image"),
    ("music sheet", "music sheet"),
    ("chemical formula", "chemical formula"),
    ("chart", "chart"),
];

/// An element that is open.
struct Open {
    name: String,
    /// Whether the cleaned HTML has its tag.
    is_kept: bool,
    /// Whether its contents are left out of the cleaned HTML.
    is_emptied: bool,
    /// The element that its text belongs to.
    owner: Option<usize>,
}

#[derive(Default)]
struct Builder {
    html: String,
    elements: Vec<Element>,
    open: Vec<Open>,
    /// The number of open elements beyond [`MAX_DEPTH`].
    too_deep: usize,
    has_tags: bool,
    warnings: Warnings,
}

/// Reads HTML.
pub(super) fn read(text: &str, space: &Space<'_>) -> Reading {
    let mut builder = Builder::default();
    let body = body(text, &mut builder.warnings);
    let mut tokens = Tokens::new(&body);
    for token in tokens.by_ref() {
        builder.token(token);
    }
    let is_closed_by_itself = |open: &Open| {
        ["html", "body", "p", "li", "td", "th", "tr", "tbody"].contains(&open.name.as_str())
    };
    let is_cut = tokens.is_cut || !builder.open.iter().all(is_closed_by_itself);
    builder.close_to(0);
    let Builder { html, elements, has_tags, mut warnings, .. } = builder;
    if !has_tags {
        warnings.add(format!(
            "no HTML was found: expected elements with data-bbox, found {}",
            quoted(text)
        ));
        return Reading { warnings: warnings.into_texts(), ..Reading::default() };
    }
    if is_cut {
        warnings.add("the answer ends within its HTML; what is incomplete was left out, and open elements were closed");
    }
    if tokens.has_hidden {
        warnings.add("scripts, styles and embedded documents were left out");
    }
    let mut marks = Vec::new();
    let elements: Vec<Value> = elements
        .into_iter()
        .enumerate()
        .map(|(index, element)| element.into_json(index, space, &mut marks, &mut warnings))
        .collect();
    let html = format!("<html><body>\n{}\n</body></html>", html.trim());
    let structured = json!({ "html": html, "elements": elements });
    Reading { structured: Some(structured), marks, warnings: warnings.into_texts() }
}

/// Returns the HTML of an answer without fences and the words around it.
fn body(text: &str, warnings: &mut Warnings) -> String {
    let payload = fence::payload(text, &["html", "xml"], &['<']);
    let mut body = payload.bodies.join("\n");
    let mut has_words = payload.has_words_around;
    let find = |text: &str, tag: &str| {
        let is_there = |(at, _): &(usize, &str)| {
            text.as_bytes()
                .get(*at..at + tag.len())
                .is_some_and(|bytes| bytes.eq_ignore_ascii_case(tag.as_bytes()))
        };
        text.match_indices('<').find(is_there).map(|(at, _)| at)
    };
    if let Some(end) = find(&body, "</html>") {
        has_words |= body[end + "</html>".len()..].contains(char::is_alphanumeric);
        body.truncate(end);
    }
    if let Some(start) = find(&body, "<html") {
        // A document type may stand before.
        let before = body[..start].trim();
        has_words |= before.contains(char::is_alphanumeric) && !before.starts_with("<!");
        body.drain(..start);
    }
    if has_words {
        warnings.add("words outside of the HTML were left out");
    }
    body
}

impl Builder {
    fn token(&mut self, token: Token<'_>) {
        match token {
            Token::Text(text) => self.text(text),
            Token::Open { name, attributes } => self.open(name, &attributes),
            Token::Close(name) => self.close(&name),
        }
    }

    fn text(&mut self, text: &str) {
        let decoded = safe::decoded(text);
        if let Some(owner) = self.open.last().and_then(|open| open.owner) {
            self.elements[owner].text.push_str(&decoded);
        }
        if !self.is_emptied() {
            safe::escape(&decoded, &mut self.html);
        }
    }

    fn is_emptied(&self) -> bool {
        self.open.last().is_some_and(|open| open.is_emptied)
    }

    fn open(&mut self, name: String, attributes: &[(String, &str)]) {
        self.has_tags |= safe::is_kept(&name) || ["html", "body"].contains(&name.as_str());
        self.close_implied(&name);
        if self.open.len() >= MAX_DEPTH {
            self.too_deep += usize::from(!safe::is_empty(&name));
            self.warnings.add(format!(
                "elements nested more than {MAX_DEPTH} deep were left out; their text was kept"
            ));
            return;
        }
        let attribute = |wanted: &str| {
            attributes.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value)
        };
        let class = attribute("class").map(safe::decoded).unwrap_or_default();
        let class = class.split_whitespace().collect::<Vec<_>>().join(" ");
        let outer = self.open.last().and_then(|open| open.owner);
        // Words of neighbours stay apart.
        if let Some(owner) = outer {
            self.elements[owner].text.push(' ');
        }
        let own = self.element(&name, &class, attribute("data-bbox"), attribute("data-polygon"));
        let is_kept = safe::is_kept(&name) && !self.is_emptied();
        if is_kept {
            self.open_tag(&name, &class, attributes);
        }
        if !safe::is_empty(&name) {
            let is_emptied = self.is_emptied()
                || name == "head"
                || EMPTIED.iter().any(|(emptied, _)| *emptied == class);
            self.open.push(Open { name, is_kept, is_emptied, owner: own.or(outer) });
        }
    }

    /// Adds an element if it has a box. Boxes of `ol` say nothing that those of its lines don't.
    fn element(
        &mut self,
        tag: &str,
        class: &str,
        edges: Option<&str>,
        corners: Option<&str>,
    ) -> Option<usize> {
        if tag == "ol" || (edges.is_none() && corners.is_none()) {
            return None;
        }
        let index = self.elements.len();
        if index >= MAX_ITEMS {
            self.warnings.count(Trouble::TooMany, index);
            return None;
        }
        let mut boxes = Vec::new();
        for (key, value) in [("bbox_2d", edges), ("polygon", corners)] {
            let Some(value) = value else { continue };
            let numbers = shapes::numbers_of_text(value);
            match numbers.as_deref().and_then(shapes::shape) {
                Some(shape) => {
                    let raw =
                        value.split([' ', ',']).filter_map(|word| serde_json::from_str(word).ok());
                    boxes.push((key, shape, raw.collect::<Vec<Value>>().into()));
                }
                None => self.warnings.count(Trouble::Unreadable, index),
            }
        }
        self.elements.push(Element {
            tag: tag.to_owned(),
            class: class.to_owned(),
            text: String::new(),
            boxes,
        });
        Some(index)
    }

    fn open_tag(&mut self, name: &str, class: &str, attributes: &[(String, &str)]) {
        self.html.push('<');
        self.html.push_str(name);
        let class = folded(class);
        let kept = attributes.iter().filter_map(|(attribute, value)| {
            Some((attribute.as_str(), safe::attribute(name, attribute, value)?))
        });
        let class = (!class.is_empty()).then_some(("class", class));
        for (attribute, value) in class.into_iter().chain(kept) {
            self.html.push(' ');
            self.html.push_str(attribute);
            self.html.push_str("=\"");
            safe::escape(&value, &mut self.html);
            self.html.push('"');
        }
        self.html.push('>');
    }

    fn close(&mut self, name: &str) {
        if self.too_deep > 0 {
            self.too_deep -= 1;
            return;
        }
        if let Some(at) = self.open.iter().rposition(|open| open.name == name) {
            self.close_to(at);
        }
    }

    /// Closes the elements that end where another begins: a paragraph before a heading, a cell before a row.
    fn close_implied(&mut self, name: &str) {
        let ended: &[&str] = match name {
            "li" => &["p", "li"],
            "td" | "th" => &["p", "td", "th"],
            "tr" => &["p", "td", "th", "tr"],
            "dt" | "dd" => &["p", "dt", "dd"],
            "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "div" | "table" | "ul" | "ol" => &["p"],
            _ => return,
        };
        while self.open.last().is_some_and(|open| ended.contains(&open.name.as_str())) {
            self.close_to(self.open.len() - 1);
        }
    }

    fn close_to(&mut self, depth: usize) {
        while self.open.len() > depth {
            let Some(open) = self.open.pop() else { return };
            if open.is_kept {
                self.html.push_str("</");
                self.html.push_str(&open.name);
                self.html.push('>');
            }
        }
    }
}

/// Returns the class in the cleaned HTML.
fn folded(class: &str) -> String {
    if let Some((_, renamed)) = EMPTIED.iter().find(|(emptied, _)| *emptied == class) {
        return (*renamed).to_owned();
    }
    let mut words: Vec<&str> = Vec::new();
    for word in class.split(' ').take(16) {
        let word = if ["formula.machine_printed", "formula.handwritten"].contains(&word) {
            "formula"
        } else {
            word
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words.join(" ")
}
